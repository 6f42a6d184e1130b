"""Reads how this host keeps its resolvers. Nothing here writes: that is the root helper's work."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from plugins.magicdns.os_dns import HostFiles

MAX_BYTES = 64 * 1024
RESOLV_CONF = "etc/resolv.conf"
FORMER = "etc/resolv.conf.before-waypost"
NSSWITCH = "etc/nsswitch.conf"
UPSTREAM = ("run/systemd/resolve/resolv.conf", "run/NetworkManager/no-stub-resolv.conf")
INTERFACES = ("run/resolvconf/interface", "run/resolvconf/interfaces", "run/resolvconf/keys")
RESOLVED_SOCKET = "run/systemd/resolve/io.systemd.Resolve"
"""systemd-resolved makes it anew at each start."""
OUR_ENTRIES = ("tun-waypost.inet", "waypost")


def read_host(root: Path = Path("/")) -> HostFiles:
    """What cannot be read counts as absent."""
    link = ""
    with suppress(OSError):
        link = os.path.normpath((root / RESOLV_CONF).parent / (root / RESOLV_CONF).readlink())
    entries = [path for folder in INTERFACES for path in _entries(root / folder)]
    return HostFiles(
        resolv_conf=_text(root / RESOLV_CONF),
        link=link.removeprefix(str(root).rstrip("/")),
        former=_text(root / FORMER),
        nsswitch=_text(root / NSSWITCH),
        upstream=next((text for name in UPSTREAM if (text := _text(root / name))), ""),
        interfaces=tuple(_text(path) for path in entries if path.name not in OUR_ENTRIES),
        resolved_run=_made(root / RESOLVED_SOCKET),
    )


def _made(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino} {found.st_ctime_ns}"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())[:64]
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
