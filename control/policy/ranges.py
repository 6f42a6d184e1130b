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

OVERLAY = ("100.64.0.0/10", "fd7a:115c:a1e0::/48")
"""Where nodes' addresses are."""

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
    fours = (_text(IPv4Address(first), IPv4Address(last)) for first, last in joined(v4))
    sixes = (_text(IPv6Address(first), IPv6Address(last)) for first, last in joined(v6))
    return (*fours, *sixes)


def joined(ranges: Iterable[Range]) -> list[Range]:
    """The union as ascending ranges that do not touch."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            if last > found[-1][1]:
                found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def _text(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> str:
    if first == last:
        return str(first)
    size = int(last) - int(first) + 1
    if size & (size - 1) == 0 and int(first) % size == 0:
        return str(next(iter(summarize_address_range(first, last))))
    return f"{first}-{last}"


Versioned = tuple[int, Range]
"""IP version and an inclusive range."""


def networks_of(ranges: Iterable[Versioned]) -> tuple[Prefix, ...]:
    """Union of the ranges as the fewest prefixes, IPv4 first."""
    found: list[Prefix] = []
    parts = list(ranges)
    for first, last in joined(part for version, part in parts if version == 4):
        found.extend(summarize_address_range(IPv4Address(first), IPv4Address(last)))
    for first, last in joined(part for version, part in parts if version == 6):
        found.extend(summarize_address_range(IPv6Address(first), IPv6Address(last)))
    return tuple(found)


def union(ranges: Iterable[Versioned]) -> list[Versioned]:
    """The same addresses by the fewest ranges, IPv4 first."""
    parts = list(ranges)
    return [(version, span) for version in (4, 6) for span in joined(part for one, part in parts if one == version)]


def without(ranges: Iterable[Versioned], removed: Iterable[Versioned]) -> list[Versioned]:
    """The ranges without every address of `removed`."""
    left = list(ranges)
    for version, (low, high) in removed:
        kept: list[Versioned] = []
        for item in left:
            first, last = item[1]
            if item[0] != version or last < low or first > high:
                kept.append(item)
                continue
            if first < low:
                kept.append((version, (first, low - 1)))
            if last > high:
                kept.append((version, (high + 1, last)))
        left = kept
    return left
