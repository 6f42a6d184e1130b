"""The oracle: whether two nodes can meet directly, and how soon. It knows the NATs, for it plays on copies of them.

Ideal players stand on the same terrain without delay or loss. They know their own addresses (interfaces, what STUN
servers see, a forwarded port), tell each other all, and ping in rounds; whoever is pinged learns the source and pings
back in the next round. A path that they cannot find needs luck or a relay; who may use a peer relay is in the plan.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from itertools import permutations

from appliance.types.addresses import AddrPort
from tests.sim.building import Terrain
from tests.sim.network import Host, Realm
from tests.sim.plan import Plan
from tests.sim.world import World

ROUNDS = 4
_STUN = ("203.0.113.250", "203.0.113.251")
_STUN_V6 = "2001:db8:ffff::250"

QUICK_S = (1.2, 2.5, 5.5, 11.0)
"""Own rounds are at 0, 0.7, 2, 5 and 10 s: a path that needs k rounds on perfect wires is there with the next one."""
LOSSY_S = 16.0
"""Where packets are lost or doubled, any single round may fail."""
RELAYED_S = 1.0
"""A peer relay is asked as soon as a peer is wanted; to that come the round trips."""


@dataclass(frozen=True)
class Verdict:
    """Of one node toward another. `by_s` after the first packet; without meaning when not `possible`.

    `luck`: not possible by known addresses, but a hard NAT may be guessed through. `relayed_by_s`: after so long the
    path is through a peer relay, if not direct; None: nobody may use one.
    """

    possible: bool
    by_s: float = 0.0
    luck: bool = False
    relayed_by_s: float | None = None


class _Player:
    """Talks in words `kind sender target`, understood by the target only: others may have its LAN address."""

    def __init__(self, number: int, host: Host, extra: tuple[AddrPort, ...]) -> None:
        self.number, self.host = number, host
        self.own: set[AddrPort] = {host.local, *extra}
        if host.ip6 is not None:
            self.own.add(AddrPort(host.ip6, host.port))
        self.sources: dict[int, set[AddrPort]] = {}
        self.answered: set[int] = set()
        host.receive = self._receive

    def _receive(self, source: AddrPort, data: bytes) -> None:
        kind, sender, target = data.decode().split(" ", 2)
        if kind == "mapped":
            self.own.add(AddrPort(sender, int(target)))
        elif int(target) == self.number:
            if kind == "ping":
                self.sources.setdefault(int(sender), set()).add(source)
                self.say(source, "pong", int(sender))
            else:
                self.answered.add(int(sender))

    def say(self, to: AddrPort, kind: str, target: int) -> None:
        if to.is_v6 and self.host.ip6 is None:
            return
        self.host.send(to, f"{kind} {self.number} {target}".encode())


def _stun(realm: Realm, ip: str) -> None:
    realm.attach(ip, lambda source, to, _: realm.send(to, source, f"mapped {source.ip} {source.port}".encode()))


def _players(terrain: Terrain) -> list[_Player]:
    for ip in (*_STUN, _STUN_V6):
        _stun(terrain.internet, ip)
    players = [_Player(i, host, terrain.mapped_endpoints(i)) for i, host in enumerate(terrain.hosts)]
    for player in players:
        for ip in (*_STUN, _STUN_V6):
            player.say(AddrPort(ip, 3478), "stun", -1)
    terrain.world.run(0.001)
    return players


def _meet(world: World, a: _Player, b: _Player) -> tuple[int | None, int | None]:
    """The round in which each got an answer, counted from 0."""
    found: list[int | None] = [None, None]
    for number in range(ROUNDS):
        pings = [(one, to, other) for one, other in ((a, b), (b, a)) for to in sorted(_known(one, other))]
        for one, to, other in pings:
            one.say(to, "ping", other.number)
        world.run(0.001)
        for side, (one, other) in enumerate(((a, b), (b, a))):
            if found[side] is None and other.number in one.answered:
                found[side] = number
    return found[0], found[1]


def _known(one: _Player, other: _Player) -> set[AddrPort]:
    return other.own | one.sources.get(other.number, set())


def verdicts(plan: Plan) -> MappingOf[tuple[int, int], Verdict]:
    """For each ordered pair of node numbers (from 0)."""
    world = World(f"oracle {plan.seed}")
    players = _players(Terrain(world, plan, perfect=True))
    found: dict[tuple[int, int], Verdict] = {}
    for a, b in permutations(range(len(players)), 2):
        if a < b:
            rounds = _meet(world, players[a], players[b])
            found[a, b], found[b, a] = (_verdict(plan, a, b, number) for number in rounds)
    return found


def _verdict(plan: Plan, a: int, b: int, number: int | None) -> Verdict:
    sites = [plan.sites[plan.nodes[node].site] for node in (a, b)]
    lossy = any(site.loss or site.doubled for site in sites)
    way = plan.core_delay + sum(site.delay + site.jitter + 0.005 for site in sites)
    relayed_by_s = None
    if plan.relayed(a, b):
        relayed_by_s = LOSSY_S if lossy else RELAYED_S + 10 * way + 20 * max(plan.regions)
    if number is None:
        hard = not (plan.stable(a) and plan.stable(b))
        luck = hard and not plan.blocked(a) and not plan.blocked(b)
        return Verdict(False, luck=luck, relayed_by_s=relayed_by_s)
    by_s = LOSSY_S if lossy else QUICK_S[number] + 6 * way + 4 * max(plan.regions)
    return Verdict(True, by_s, relayed_by_s=relayed_by_s)
