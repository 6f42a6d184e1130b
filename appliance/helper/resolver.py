"""Tells the host's programs which DNS resolver to ask, in each way that hosts know, and puts back what was.

What was used last is kept in a file that a reboot empties, as do systemd-resolved and resolvconf; a replaced
/etc/resolv.conf is known by the copy beside it. So a call without nameservers mends what a killed daemon left.
D-Bus is spoken by `busctl`, which is there wherever the two services are.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from appliance.proto.helper.messages import SetResolver

HEADER = "# Written by waypost-helper; changes are overwritten.\n"
RESOLV_CONF = "etc/resolv.conf"
FORMER = "etc/resolv.conf.before-waypost"
"""The file, or the link, that was there before."""
IMAGE_FILE = "run/waypost-helper/resolv.conf"
RECORD = "run/waypost-helper/resolver-way"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""Programs are looked for there only, whatever the environment says."""
TIMEOUT_S = 4
_RESOLVED = ("org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager")
_MANAGER = ("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager")
_FAMILY = {4: 2, 6: 10}
"""AF_INET and AF_INET6."""


class ResolverKeeper:
    """`root` is where the file system begins. Methods raise OSError and SubprocessError."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def apply(self, wish: SetResolver) -> None:
        way, _, interface = self._record().partition(" ")
        if not wish.nameservers:
            self._undo(way, interface)
            if way != wish.way:
                self._undo(wish.way, wish.interface)
            return
        if way and (way, interface) != (wish.way, wish.interface):
            self._undo(way, interface)
        self._set_record(f"{wish.way} {wish.interface}")
        match wish.way:
            case "image":
                self._write(self._root / IMAGE_FILE, render_resolver(wish))
            case "file":
                self._keep_former()
                self._write(self._root / RESOLV_CONF, render_resolver(wish))
            case "resolved":
                self._set_resolved(wish)
            case "network-manager":
                _run("busctl", "set-property", *_MANAGER, "GlobalDnsConfiguration", *_global_dns(wish))
            case "resolvconf":
                _run("resolvconf", *self._resolvconf("-a"), text=render_resolver(wish))

    def _undo(self, way: str, interface: str) -> None:
        match way:
            case "image":
                (self._root / IMAGE_FILE).unlink(missing_ok=True)
            case "resolved" if interface and (index := self._index(interface)):
                _run("busctl", "call", *_RESOLVED, "RevertLink", "i", str(index))
            case "network-manager":
                _run("busctl", "set-property", *_MANAGER, "GlobalDnsConfiguration", "a{sv}", "0")
            case "resolvconf":
                _run("resolvconf", *self._resolvconf("-d"))
        self._put_former_back()
        (self._root / RECORD).unlink(missing_ok=True)

    # /etc/resolv.conf

    def _keep_former(self) -> None:
        """Once: what is ours, or was kept by a run before, is not kept again."""
        path, former = self._root / RESOLV_CONF, self._root / FORMER
        if self._is_ours(path) or not os.path.lexists(path):
            return
        former.unlink(missing_ok=True)
        if path.is_symlink():
            former.symlink_to(path.readlink())
        else:
            self._write(former, path.read_text(errors="replace"))

    def _put_former_back(self) -> None:
        path, former = self._root / RESOLV_CONF, self._root / FORMER
        if not self._is_ours(path):
            former.unlink(missing_ok=True)  # somebody has written another one since: theirs stays
            return
        if not os.path.lexists(former):
            path.unlink()
            return
        try:
            former.replace(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            path.write_text(former.read_text(errors="replace"))
            former.unlink()

    def _is_ours(self, path: Path) -> bool:
        try:
            return not path.is_symlink() and path.read_text(errors="replace").startswith(HEADER)
        except FileNotFoundError:
            return False

    # systemd-resolved

    def _set_resolved(self, wish: SetResolver) -> None:
        index = self._index(wish.interface)
        if not index:
            raise OSError(errno.ENODEV, f"no interface {wish.interface}")
        link = str(index)
        servers = [address_words(text) for text in wish.nameservers]
        domains = [(name.rstrip("."), False) for name in wish.search]
        domains += [(name.rstrip("."), True) for name in wish.domains or (".",)]
        pairs = [word for name, routing in domains for word in (name or ".", str(routing).lower())]
        flat = [word for words in servers for word in words]
        _run("busctl", "call", *_RESOLVED, "SetLinkDNS", "ia(iay)", link, str(len(servers)), *flat)
        _run("busctl", "call", *_RESOLVED, "SetLinkDomains", "ia(sb)", link, str(len(domains)), *pairs)
        default = "false" if wish.domains else "true"
        _run("busctl", "call", *_RESOLVED, "SetLinkDefaultRoute", "ib", link, default)
        for what in ("SetLinkLLMNR", "SetLinkMulticastDNS", "SetLinkDNSSEC", "SetLinkDNSOverTLS"):
            _run("busctl", "call", *_RESOLVED, what, "is", link, "no")
        _run("busctl", "call", *_RESOLVED, "FlushCaches")

    def _index(self, interface: str) -> int:
        """0: there is none."""
        with suppress(OSError, ValueError):
            return int((self._root / "sys/class/net" / interface / "ifindex").read_text())
        return 0

    # resolvconf

    def _resolvconf(self, action: str) -> Sequence[str]:
        """Debian's names entries after interface and program; openresolv can make one exclusive."""
        if (self._root / "usr/lib/resolvconf/list-records").exists():
            return (action, "tun-waypost.inet")
        return ("-m", "0", "-x", action, "waypost") if action == "-a" else ("-f", action, "waypost")

    # files

    def _record(self) -> str:
        try:
            return (self._root / RECORD).read_text().strip()
        except FileNotFoundError:
            return ""

    def _set_record(self, text: str) -> None:
        self._write(self._root / RECORD, text + "\n")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            replace_file(path, text)
        except OSError as error:
            if error.errno != errno.EBUSY:  # a bind mount, as in containers, can only be written in place
                raise
            path.write_text(text)


def render_resolver(request: SetResolver) -> str:
    """The file in the words of resolv.conf(5)."""
    lines = [f"nameserver {ip_address(text)}\n" for text in request.nameservers]
    search = f"search {' '.join(name.rstrip('.') for name in request.search)}\n" if request.search else ""
    return HEADER + "".join(lines) + search


def address_words(text: str) -> list[str]:
    """An address as busctl takes a D-Bus `(iay)`: family, number of bytes, the bytes."""
    address = ip_address(text)
    return [str(_FAMILY[address.version]), str(len(address.packed)), *map(str, address.packed)]


def _global_dns(wish: SetResolver) -> list[str]:
    """NetworkManager's property in busctl's words: search domains, and one entry for all names."""
    searches = ["searches", "as", str(len(wish.search)), *(name.rstrip(".") for name in wish.search)]
    servers = ["servers", "as", str(len(wish.nameservers)), *wish.nameservers]
    return ["a{sv}", "2", *searches, "domains", "a{sv}", "1", "*", "a{sv}", "1", *servers]


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=ENVIRONMENT
    )
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()[:200]
        raise OSError(0, f"{command[0]} refused: {reason or f'exit code {done.returncode}'}")


def replace_file(path: Path, text: str) -> None:
    """The old content or the new, never a part; world-readable."""
    beside = path.with_name(f".{path.name}.waypost-new")
    beside.unlink(missing_ok=True)  # a left-over of a crash
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
