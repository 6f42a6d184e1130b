"""Random networks by seed, and what must hold in each of them.

Every pair exchanges packets at all times after its first second; every pair for which the oracle says so gets a
direct path in time and keeps it; after a fault there is a working path again in less than 3 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

from appliance.types.events import PathKind
from appliance.types.ids import RegionId
from tests.sim.network import Filtering, Host, Mapping, Nat, Quality, Realm
from tests.sim.node import SimNode
from tests.sim.oracle import PUBLIC, Side, chain, direct_possible
from tests.sim.servers import Control, DerpWorld, Region
from tests.sim.world import World

SETTLE_S = 12.0
DIRECT_WITHIN_S = 10.0
STILL_S = 20.0
FAULT_RECOVERY_S = 3.0
MAX_SILENCE_S = 1.5
"""With packets each 100 ms: what loss alone may do, plus the relay's first dialling."""
FLAPS_A_MINUTE = 1

_HARD = (Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)


@dataclass
class Site:
    """A LAN behind its NATs, with the properties that the oracle needs."""

    name: str
    lan: Realm
    side: Side
    nats: list[Nat]
    story: str
    wire: Quality


@dataclass
class Outcome:
    """Of one seed. `problems` empty: all held. Times in seconds from the first packet."""

    seed: int
    problems: list[str] = field(default_factory=list)
    direct: int = 0
    derp: int = 0
    direct_after: list[float] = field(default_factory=list)
    story: str = ""
    timeline: str = ""


class RandomNetwork:
    """Two nodes mostly, five in one seed of ten; a fault in every second one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.chance = self.world.randomness
        self.internet = Realm(self.world, Quality(self.chance.uniform(0.002, 0.08), 0.0, 0.0))
        regions = [
            Region(RegionId(900 + i), f"203.0.113.{i + 1}", self.chance.uniform(0.005, 0.1))
            for i in range(1 + self.chance.below(4))
        ]
        self.derp = DerpWorld(self.world, self.internet, regions)
        self.control = Control(self.world)
        self.nodes: list[SimNode] = []
        self.sites: list[Site] = []
        self.story: list[str] = []
        count = 5 if self._one_in(10) else 2
        for number in range(1, count + 1):
            self._add(number)

    def _one_in(self, many: int) -> bool:
        return self.chance.below(many) == 0

    def _add(self, number: int) -> None:
        if self.sites and self._one_in(10):
            site = self.sites[-1]  # a second node on the same LAN
        else:
            site = self._site(len(self.sites) + 1)
            self.sites.append(site)
        port = 41641 if self._one_in(2) else 20000 + self.chance.below(20000)
        host = Host(self.world, site.lan, f"192.168.{self.sites.index(site) + 1}.{10 + number}", port)
        if not site.nats:
            host = Host(self.world, self.internet, f"192.0.2.{number}", port)
        node = SimNode(self.world, f"n{number}", number, host, self.derp, self.control)
        node.site = site
        self.nodes.append(node)
        self.story.append(f"n{number} at {host.local} in {site.story}")

    def _site(self, number: int) -> Site:
        loss = self.chance.uniform(0, 0.05) if self._one_in(3) else 0.0
        wire = Quality(self.chance.uniform(0.0005, 0.03), self.chance.uniform(0, 0.01), loss)
        lan = Realm(self.world, wire)
        if self._one_in(6):
            return Site(f"s{number}", lan, PUBLIC, [], "no NAT", wire)
        layers = 2 if self._one_in(6) else 1
        inner, nats, sides = lan, [], []
        for layer in range(layers):
            last = layer == layers - 1
            outer = self.internet if last else Realm(self.world, Quality(0.002))
            ip = f"198.51.100.{number}" if last else f"10.{number}.0.2"
            nat = self._nat(inner, outer, ip)
            nats.append(nat)
            sides.append(Side(nat.mapping, nat.filtering, nat.blocks_udp))
            inner = outer
        side = chain(*sides)
        blocked = ", UDP blocked" if side.blocks_udp else ""
        story = (
            f"s{number}: {layers} NAT, {side.mapping.value}, {side.filtering.name.lower()}{blocked}, loss {loss:.1%}"
        )
        return Site(f"s{number}", lan, side, nats, story, wire)

    def _nat(self, inner: Realm, outer: Realm, ip: str) -> Nat:
        hard = self._one_in(3)
        return Nat(
            self.world,
            inner,
            outer,
            ip,
            mapping=_HARD[self.chance.below(2)] if hard else Mapping.ENDPOINT_INDEPENDENT,
            filtering=list(Filtering)[self.chance.below(3)],
            timeout=self.chance.uniform(30, 120),
            hairpin=self._one_in(2),
            blocks_udp=self._one_in(10),
        )

    def exact(self, a: SimNode, b: SimNode) -> bool:
        """Whether the oracle's no is certain: of a chain of NATs it knows the least that gets through."""
        return len(a.site.nats) < 2 and len(b.site.nats) < 2

    def lasting(self, a: SimNode, b: SimNode) -> bool:
        """Whether mappings live as long as traffic; one that only STUN used dies, which is a fault of its own."""
        return a.site.side.stable and b.site.side.stable

    def direct_possible(self, a: SimNode, b: SimNode) -> bool:
        return a.site is b.site or direct_possible(a.site.side, b.site.side)


def play(seed: int) -> Outcome:
    """Run one seed."""
    network = RandomNetwork(seed)
    outcome = Outcome(seed, story="\n".join(network.story))
    world, nodes = network.world, network.nodes
    pairs = list(permutations(nodes, 2))
    world.run(6.5)  # long enough for a netcheck without UDP
    started = world.now
    for a, b in pairs:
        world.after(world.randomness.uniform(0, 0.1), lambda a=a, b=b: a.talk_to(b))
    world.note("world", "everybody talks to everybody")
    world.run(SETTLE_S)
    _judge_paths(network, pairs, started, outcome)
    world.run(STILL_S)
    _judge_stillness(network, pairs, started, world.now, outcome)
    if seed % 2:
        _fault(network, outcome)
    outcome.timeline = world.timeline.text()
    return outcome


def _first_direct(a: SimNode, b: SimNode, since: float) -> float | None:
    return next((at - since for at, kind, _ in a.paths[b.key] if at >= since and kind == PathKind.DIRECT), None)


def _judge_paths(network: RandomNetwork, pairs: list[tuple[SimNode, SimNode]], since: float, outcome: Outcome) -> None:
    for a, b in pairs:
        after = _first_direct(a, b, since)
        if after is not None:
            outcome.direct += 1
            outcome.direct_after.append(after)
        else:
            outcome.derp += 1
        possible = network.direct_possible(a, b)
        if possible and (after is None or after > DIRECT_WITHIN_S):
            outcome.problems.append(f"{a.name} to {b.name}: direct is possible, reached after {after}")
        if not possible and after is not None and network.exact(a, b):
            outcome.problems.append(
                f"{a.name} to {b.name}: the oracle calls a direct path impossible, yet there is one"
            )


def _judge_stillness(
    network: RandomNetwork, pairs: list[tuple[SimNode, SimNode]], since: float, until: float, outcome: Outcome
) -> None:
    for a, b in pairs:
        silence = b.longest_silence(a, since + 1.0, until)
        if silence > (MAX_SILENCE_S if network.lasting(a, b) else FAULT_RECOVERY_S):
            outcome.problems.append(f"{a.name} to {b.name}: nothing arrived for {silence:.2f} s in a still network")
        flaps = _flaps(a, b, since + SETTLE_S)
        if flaps > FLAPS_A_MINUTE:
            outcome.problems.append(f"{a.name} to {b.name}: the path flapped {flaps} times in a still network")


def _flaps(a: SimNode, b: SimNode, since: float) -> int:
    """How often the path came back to what it was just before."""
    shown = [(kind, endpoint) for at, kind, endpoint in a.paths[b.key] if at >= since]
    return sum(1 for first, third in zip(shown, shown[2:], strict=False) if first == third)


def _fault(network: RandomNetwork, outcome: Outcome) -> None:
    """One single fault; every pair hears each other again within 3 s and loses nothing later."""
    world, chance = network.world, network.chance
    victim = network.nodes[chance.below(len(network.nodes))]
    kind = chance.below(4)
    slack = 0.0
    if kind == 0 and victim.site.nats:
        world.note("world", f"the NAT of {victim.name} loses its state")
        for nat in victim.site.nats:
            nat.reboot()
    elif kind == 1 and victim.site.nats:
        world.note("world", f"the NAT of {victim.name} blocks UDP from now on")
        victim.site.nats[-1].blocks_udp = True
    elif kind == 2:
        world.note("world", f"{victim.name} roams")
        realm = Realm(world, Quality(0.005))
        Nat(world, realm, network.internet, "198.51.100.200")
        victim.host.move(realm, "192.168.200.10")
        victim.link_changed()
        slack = 4 * max(region.delay for region in network.derp.regions.values())
    else:
        world.note("world", f"{victim.name} is killed and starts again")
        victim.restart()
        slack = 6.5  # a home region must be found again, by HTTPS when UDP is blocked
    at = world.now
    world.run(20.0)
    for a, b in permutations(network.nodes, 2):
        silence = b.longest_silence(a, at, world.now)
        if silence > FAULT_RECOVERY_S + slack:
            outcome.problems.append(f"{a.name} to {b.name}: nothing arrived for {silence:.2f} s after a fault")


def report(outcome: Outcome) -> str:
    """A failed seed for its reader."""
    lines = [f"seed {outcome.seed}", *outcome.problems, "", outcome.story, "", outcome.timeline]
    return "\n".join(lines)
