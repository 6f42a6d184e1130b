"""The nftables table that keeps this host's traffic in the tunnel while an exit is in use, pure.

It is a table of its own and needs no process: it stands from before the first route until the exit is given up, also
while the daemon is dead or starts again. Outside the tunnel go only: the daemon's own marked sockets (control, DERP,
STUN, WireGuard), answers to whoever asked this host, what a link needs to work (neighbours, DHCP, router
solicitations), what `lan_access` allows, destinations that are excepted, and hosts that the exit is not for
(`appliance.router.split`).

| chain | hook, priority | does |
|---|---|---|
| asked | prerouting, -145 | remembers connections that others began with this host from outside the tunnel |
| answers | output (route), -155 | sends the answers back the way the question came |
| leave | output, -140 | refuses everything else |
| pass | forward, -140 | the same for what hosts behind this one send |
| hide | postrouting, 100 | an exit knows the node's address only |

Where the exit is for hosts behind this one alone, instead of the first three:

| chain | hook, priority | does |
|---|---|---|
| stray | output, -140 | drops the host's answers on hosts' flows that it forgot: they have its address of the mesh |
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.ports.firewall import NftChain, NftSet, NftTable
from appliance.router.exit_uplink import uplink_chains, uplink_sets
from appliance.router.model import GUARD_NAME, TABLE_FAMILY, Guard, RouterModel
from appliance.router.ranges import address_elements
from appliance.router.split import HAS_BYPASS, SET_BYPASS, split_chains, split_sets

_WORD = {4: "ip", 6: "ip6"}
_ANSWER = "ct state established,related ct direction reply accept"
_LINK = (
    "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, "
    "mld-listener-done, mld2-listener-report } accept",
    "ip protocol igmp accept",
    "udp sport 68 udp dport 67 accept",
    "udp sport 546 udp dport 547 accept",
)
_ON_LINK = (
    "ip daddr { 169.254.0.0/16, 224.0.0.0/24, 255.255.255.255 } accept",
    "ip6 daddr { fe80::/10, ff02::/16 } accept",
)
_REFUSE = "counter reject with icmpx admin-prohibited"


def render_guard(model: RouterModel) -> NftTable | None:
    """None: no exit is in use, and this one has no uplink of its own."""
    if not model.has_guard:
        return None
    chains: list[NftChain] = []
    sets: list[NftSet] = []
    if model.guard is not None:
        chains += _chains(model.interface, model.guard)
        sets += _sets(model.guard)
    if model.exit_uplink is not None:
        chains += uplink_chains(model.interface, model.exit_uplink)
        sets += uplink_sets(model.exit_uplink)
    return NftTable(TABLE_FAMILY, GUARD_NAME, tuple(sets), tuple(chains))


def _sets(guard: Guard) -> Iterator[NftSet]:
    for name, prefixes in (("near", guard.near), ("inside", guard.inside), ("direct", guard.direct)):
        for version in _WORD:
            yield NftSet(f"{name}{version}", f"ipv{version}_addr", address_elements(version, prefixes))
    if guard.split is not None:
        yield from split_sets(guard.split)


def _chains(interface: str, guard: Guard) -> Iterator[NftChain]:
    if guard.gateway_direct:
        yield _stray(interface)
    else:
        yield from _own_chains(interface, guard)
    if guard.split is not None:
        yield from split_chains(interface, guard.split)
    judged = (f"meta mark {HAS_BYPASS} accept",) if guard.split is not None else ()
    near, direct = _toward("near"), _toward("direct")
    through = (f'oifname "{interface}" accept', _ANSWER, *near, *direct, *judged, _REFUSE)
    yield NftChain("pass", through, "type filter hook forward priority -140; policy accept;")
    hide = tuple(
        f'oifname "{interface}" {word} daddr != @inside{version} masquerade' for version, word in _WORD.items()
    )
    yield NftChain("hide", hide, "type nat hook postrouting priority 100; policy accept;")


def _stray(interface: str) -> NftChain:
    rules = [f'oifname {{ "lo", "{interface}" }} return']
    rules += [
        f"{word} saddr @inside{version} fib saddr . oif type != local counter drop" for version, word in _WORD.items()
    ]
    return NftChain("stray", tuple(rules), "type filter hook output priority -140; policy accept;")


def _own_chains(interface: str, guard: Guard) -> Iterator[NftChain]:
    """Of what this host itself sends."""
    outside = f'iifname != {{ "lo", "{interface}" }}'
    asked = (
        f"{outside} ct state new fib daddr type local ct mark set ct mark {SET_BYPASS}",
        f"{outside} ct direction original ct mark {HAS_BYPASS} meta mark set meta mark {SET_BYPASS}",
    )
    yield NftChain("asked", asked, "type filter hook prerouting priority -145; policy accept;")
    answers = f"ct direction reply ct mark {HAS_BYPASS} meta mark set meta mark {SET_BYPASS}"
    yield NftChain("answers", (answers,), "type route hook output priority -155; policy accept;")
    inside = f'oifname {{ "lo", "{interface}" }} accept'
    marked = f"meta mark {HAS_BYPASS} accept"
    near = (*_toward("near"), *_ON_LINK) if guard.lan_access else ()
    leave = (inside, marked, _ANSWER, *_LINK, *_toward("direct"), *near, _REFUSE)
    yield NftChain("leave", leave, "type filter hook output priority -140; policy accept;")


def _toward(name: str) -> tuple[str, ...]:
    return tuple(f"{word} daddr @{name}{version} accept" for version, word in _WORD.items())
