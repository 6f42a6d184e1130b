"""Pure: how this host keeps its resolvers, which ones it had, and what it is to be told (node-os spec 3.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from appliance.api import ResolverWay, ResolverWish
from appliance.types.addresses import SERVICE_V4, SERVICE_V6

OURS = "# Written by waypost-helper"
IMAGE_FILE = "/run/waypost-helper/resolv.conf"
STUB = "127.0.0.53"
MAX_SEARCH, MAX_DOMAINS, MAX_NAMESERVERS = 6, 40, 3
_OWNERS = ("systemd-resolved", "NetworkManager", "resolvconf")
REVERSE = (".in-addr.arpa", ".ip6.arpa")


@dataclass(frozen=True, slots=True)
class HostFiles:
    """What was read; "" where there is no such file. `link` is what /etc/resolv.conf points to."""

    resolv_conf: str = ""
    link: str = ""
    former: str = ""
    """What our own file took the place of."""
    nsswitch: str = ""
    upstream: str = ""
    """Where systemd-resolved or NetworkManager write the resolvers that they ask."""
    interfaces: tuple[str, ...] = ()
    """What resolvconf was told by others."""
    resolved_run: str = ""
    """Tells one run of systemd-resolved from the next, which knows nothing of what it was told before."""

    @property
    def ours(self) -> bool:
        return self.resolv_conf.startswith(OURS)


def owner(text: str) -> str:
    """Who says in its first comments that the file is its own; "" nobody."""
    for line in text.splitlines():
        if line and not line.startswith(("#", ";")):
            return ""
        for name in _OWNERS:
            if name in line:
                return name
    return ""


def choose_way(files: HostFiles) -> ResolverWay:
    """For "auto"."""
    if files.link == IMAGE_FILE:
        return ResolverWay.IMAGE
    text = files.former if files.ours else files.resolv_conf
    found = owner(text)
    if found in ("systemd-resolved", "NetworkManager") and (
        _resolve_first(files.nsswitch) or set(nameservers(text)) == {STUB}
    ):
        return ResolverWay.RESOLVED
    if found == "NetworkManager":
        return ResolverWay.NETWORK_MANAGER
    return ResolverWay.RESOLVCONF if found == "resolvconf" else ResolverWay.FILE


def _resolve_first(nsswitch: str) -> bool:
    """Whether programs ask systemd-resolved before any nameserver."""
    for line in nsswitch.splitlines():
        if line.startswith("hosts:"):
            words = line.split()[1:]
            return "resolve" in words and ("dns" not in words or words.index("resolve") < words.index("dns"))
    return False


def nameservers(text: str) -> tuple[str, ...]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            found.append(words[1])
    return tuple(dict.fromkeys(found))


def former_nameservers(files: HostFiles) -> tuple[str, ...]:
    """Resolvers that this host asks without us, best source first."""
    texts = (files.former if files.ours else files.resolv_conf, files.upstream, *files.interfaces)
    for text in texts:
        found = tuple(each for each in nameservers(text) if not _is_ours(each))
        if found:
            return found
    return ()


def make_wish(
    way: ResolverWay, search: Sequence[str], zones: Iterable[str], *, split: bool, versions: Collection[int]
) -> ResolverWish:
    """`split`: only names below `zones` come to us, where the way allows that; else all."""
    servers = [str(each) for each in (SERVICE_V4, SERVICE_V6) if each.version in versions]
    domains: tuple[str, ...] = ()
    if split and way is ResolverWay.RESOLVED:
        domains = tuple(sorted(zones, key=lambda zone: (zone.endswith(REVERSE), zone)))[:MAX_DOMAINS]
    return ResolverWish(way, tuple(servers[:MAX_NAMESERVERS]), tuple(search)[:MAX_SEARCH], domains)


def _is_ours(text: str) -> bool:
    """Ourselves, or the stub of systemd-resolved, which would ask us."""
    return text == STUB or ip_address(text.partition("%")[0]) in (SERVICE_V4, SERVICE_V6)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
