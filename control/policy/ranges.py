"""Address sets as the filter writes them: single addresses, exact prefixes, ranges (policy spec 2.2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from typing import TYPE_CHECKING

from appliance.types.addresses import CGNAT_V4

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.types.addresses import Prefix

WILDCARD = ("100.64.0.0-100.115.91.255", "100.115.94.0-100.127.255.255", "fd7a:115c:a1e0::/48")
"""`*` as a source: the overlay ranges without the one that ChromeOS uses."""

_PRIVATE_V4 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", str(CGNAT_V4))


def _internet() -> tuple[Prefix, ...]:
    """0.0.0.0/0 without private ranges, as prefixes, and the global IPv6 range (policy spec 1.3)."""
    left = [IPv4Network("0.0.0.0/0")]
    for text in _PRIVATE_V4:
        private = IPv4Network(text)
        left = [part for net in left for part in (net.address_exclude(private) if private.subnet_of(net) else (net,))]
    return (*sorted(left), IPv6Network("2000::/3"))


INTERNET = _internet()


def prefix_text(prefix: Prefix) -> str:
    """A prefix on the wire; a single address without its length."""
    single = prefix.prefixlen == prefix.max_prefixlen
    return str(prefix.network_address) if single else str(prefix)


def overlaps(one: Prefix, other: Prefix) -> bool:
    """Whether two prefixes of any version share an address."""
    return one.version == other.version and one.overlaps(other)


def in_internet(prefix: Prefix) -> bool:
    """Whether the whole prefix belongs to `autogroup:internet`."""
    return any(
        prefix.version == part.version and prefix.subnet_of(part)  # type: ignore[arg-type]  # same version
        for part in INTERNET
    )


def overlaps_internet(prefix: Prefix) -> bool:
    return any(overlaps(prefix, part) for part in INTERNET)


Range = tuple[int, int]


def prefix_range(prefix: Prefix) -> Range:
    return int(prefix.network_address), int(prefix.broadcast_address)


def render(v4: Iterable[Range], v6: Iterable[Range]) -> tuple[str, ...]:
    """Union of the inclusive ranges, ascending, IPv4 first; touching ranges are joined."""
    fours = (_text(IPv4Address(first), IPv4Address(last)) for first, last in _joined(v4))
    sixes = (_text(IPv6Address(first), IPv6Address(last)) for first, last in _joined(v6))
    return (*fours, *sixes)


def _joined(ranges: Iterable[Range]) -> list[Range]:
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            if last > joined[-1][1]:
                joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _text(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> str:
    if first == last:
        return str(first)
    size = int(last) - int(first) + 1
    if size & (size - 1) == 0 and int(first) % size == 0:
        return str(next(iter(summarize_address_range(first, last))))
    return f"{first}-{last}"
