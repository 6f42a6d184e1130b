"""What those who use this node as their exit go on by: one link of the host, or a local program. Pure.

Their packets leave by it or not at all: the rules are part of the guard's table, so they stand before the first route
and while the daemon is dead. What the site itself serves (attached networks, advertised subnets, the mesh) is reached
as ever, and nothing of the host's own goes this way: the daemon finds control, relays and peers by the host's routes,
so that no packet of the tunnel enters the tunnel again.

| chain | hook, priority | does |
|---|---|---|
| onward | prerouting, -105 | after the packet filter: marks what goes on, for table 54; TCP and UDP to the program |
| confine | forward, -140 | refuses what would leave by any other way |
| own | output, -140 | drops the host's own answers on flows that it forgot: elsewhere they would name users' goals |

Table 54 ends in nothing where the link is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.ports.firewall import NftChain, NftSet
from appliance.ports.netlink import NetlinkItem, PolicyRule, Route, RouteKind
from appliance.router.model import EXIT_TABLE, GUARD_METRIC, MARK_EXIT, MARK_MASK, ExitUplink
from appliance.router.ranges import address_elements
from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6

PRIORITY = 5260
_KEEP = 0xFFFFFFFF & ~MARK_MASK
_WORD = {4: "ip", 6: "ip6"}
_LOOPBACK = {4: "127.0.0.1", 6: "[::1]"}


def uplink_chains(tunnel: str, uplink: ExitUplink) -> Iterator[NftChain]:
    site = [f"{word} daddr @site{version} return" for version, word in _WORD.items()]
    not_ours = f'iifname != "{tunnel}" return'
    mark = f"meta mark set meta mark & {_KEEP:#010x} | {MARK_EXIT:#010x}"
    if uplink.port:
        marks = [
            f"meta nfproto ipv{version} meta l4proto {kind} tproxy {word} to {_LOOPBACK[version]}:{port} {mark}"
            for kind, port in (("tcp", uplink.port), ("udp", uplink.udp_port))
            for version, word in _WORD.items()
            if port
        ]
    else:
        marks = [mark]
    rules = (not_ours, "fib daddr type local return", *site, *marks)
    yield NftChain("onward", rules, "type filter hook prerouting priority -105; policy accept;")
    out = [f'oifname "{uplink.interface}" accept'] if uplink.interface else []
    inside = f'oifname "{tunnel}" return'
    confine = (not_ours, inside, *site, *out, "counter reject with icmpx admin-prohibited")
    yield NftChain("confine", confine, "type filter hook forward priority -140; policy accept;")
    names = ", ".join(f'"{name}"' for name in ("lo", tunnel, uplink.interface) if name)
    stray = [f"{word} saddr @uplink{version} counter drop" for version, word in _WORD.items()]
    # Also of a link that was the uplink before: a reset leaves by an interface that does not have its address.
    own = (f"oifname {{ {names} }} return", *site, *stray, "tcp flags & rst == rst fib saddr . oif type != local drop")
    yield NftChain("own", own, "type filter hook output priority -140; policy accept;")


def uplink_sets(uplink: ExitUplink) -> Iterator[NftSet]:
    for version in _WORD:
        for name, prefixes in (("site", uplink.site), ("uplink", uplink.addresses)):
            yield NftSet(f"{name}{version}", f"ipv{version}_addr", address_elements(version, prefixes))


def uplink_items(uplink: ExitUplink, versions: Iterable[int]) -> Iterator[NetlinkItem]:
    """Table 54 and the rules that lead to it."""
    wanted = sorted(versions)
    for version in wanted:
        default = DEFAULT_V4 if version == 4 else DEFAULT_V6
        yield Route(default, EXIT_TABLE, RouteKind.UNREACHABLE, metric=GUARD_METRIC)
        if uplink.port:
            yield Route(default, EXIT_TABLE, RouteKind.LOCAL, interface="lo")
        elif version in uplink.versions:
            yield Route(default, EXIT_TABLE, interface=uplink.interface)
    for version in wanted:
        yield PolicyRule(version, PRIORITY, EXIT_TABLE, MARK_EXIT, MARK_MASK)
