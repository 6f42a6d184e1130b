"""What a random network looks like, as plain values: drawn from a seed, built by `building`, shrunk by `shrink`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from appliance.portmap.mapping import Kind
from appliance.ports.randomness import SeededRandomness
from tests.sim.nat import LOW_PORT, PORTS, Allocation, Filtering, Mapping

HARD = (Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)
MTUS = (1500, 1500, 1492, 1420, 1300)
POOLS = ((LOW_PORT, PORTS), (32768, 28232), (49152, 16384))


class FaultKind(Enum):
    """What breaks. `ROAM_UNNOTICED`: the host's system says nothing. `SUSPEND`: the clock leaps, nothing was heard."""

    STATE_LOST = "its NAT or firewall loses its state"
    UDP_BLOCKED = "its NAT or firewall blocks UDP from now on"
    ROAM = "it roams"
    ROAM_UNNOTICED = "it roams and its system says nothing"
    RESTART = "it is killed and starts again"
    SUSPEND = "it sleeps and wakes, its clock leaps"
    RELAY_RESTART = "its home relay restarts"
    LOSS = "its wire loses packets from now on"
    DELAY = "its wire gets slow from now on"
    PEER_RELAY_LOST = "the peer relay dies"
    CONTROL_RESTART = "the control server restarts"


_ANYWHERE = tuple(kind for kind in FaultKind if kind not in (FaultKind.PEER_RELAY_LOST, FaultKind.CONTROL_RESTART))


@dataclass(frozen=True)
class NatPlan:
    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    allocation: Allocation = Allocation.PRESERVING
    timeout: float = 60.0
    hairpin: bool = False
    blocks_udp: bool = False
    pool: tuple[int, int] = POOLS[0]
    cap: int = PORTS
    step: int = 1
    background: float = 0.0

    def __str__(self) -> str:
        words = [f"{self.mapping.value}/{self.filtering.name.lower()}/{self.allocation.value}"]
        words += ["blocks UDP"] if self.blocks_udp else []
        words += ["hairpin"] if self.hairpin else []
        words += [f"at most {self.cap} bindings"] if self.cap < self.pool[1] else []
        return " ".join((*words, f"time-out {self.timeout:.0f} s"))


@dataclass(frozen=True)
class SitePlan:
    """`nats` from the inside out; none: a firewall (`firewall`) or nothing at all before global addresses.

    `carrier`: number of the carrier's NAT that stands outermost, shared with other sites. `v6`: global IPv6 behind a
    firewall. `forwarded`: the router forwards the first node's port by hand, and the node is told so. `subnet` of the
    LAN: sites may have the same. `maps_ports`: the router does on request what `forwarded` is by hand, asked by one of
    `mapping`.
    """

    nats: tuple[NatPlan, ...] = ()
    carrier: int | None = None
    firewall: Filtering | None = None
    v6: bool = False
    forwarded: bool = False
    maps_ports: bool = False
    mapping: tuple[Kind, ...] = (Kind.NAT_PMP,)
    subnet: int = 1
    delay: float = 0.005
    jitter: float = 0.0
    loss: float = 0.0
    doubled: float = 0.0
    mtu: int = 1500

    def __str__(self) -> str:
        words = [str(nat) for nat in self.nats] or ["global addresses"]
        words += [f"carrier NAT {self.carrier}"] if self.carrier is not None else []
        words += [f"firewall {self.firewall.name.lower()}"] if self.firewall is not None else []
        words += ["IPv6"] if self.v6 else []
        words += ["port forwarded"] if self.forwarded else []
        words += ["router maps ports by " + ", ".join(self.mapping)] if self.maps_ports else []
        words += [f"loss {self.loss:.1%}"] if self.loss else []
        words += [f"MTU {self.mtu}"] if self.mtu != 1500 else []
        return f"192.168.{self.subnet}.0/24 behind " + ", ".join(words)


@dataclass(frozen=True)
class NodePlan:
    """`host`: last number of its LAN address."""

    site: int
    host: int
    port: int = 41641


@dataclass(frozen=True)
class Plan:
    """`regions`: one-way delay to each DERP relay. `core_delay`: of the Internet. `idle`: silent when the fault comes.

    `relay_users`: the nodes (from 0) with a grant for a public node that relays; None: there is no such node.
    `control`: the real control server and clients, instead of their twin.
    """

    seed: int
    sites: tuple[SitePlan, ...]
    nodes: tuple[NodePlan, ...]
    regions: tuple[float, ...] = (0.02,)
    carriers: tuple[NatPlan, ...] = ()
    core_delay: float = 0.01
    fault: FaultKind | None = None
    victim: int = 0
    idle: bool = False
    relay_users: tuple[int, ...] | None = None
    control: bool = False

    def nats_of(self, node: int) -> tuple[NatPlan, ...]:
        """From the inside out, the carrier's last."""
        site = self.sites[self.nodes[node].site]
        return (*site.nats, *(() if site.carrier is None else (self.carriers[site.carrier],)))

    def stable(self, node: int) -> bool:
        """Whether its external port is the same for everybody."""
        return all(nat.mapping is Mapping.ENDPOINT_INDEPENDENT for nat in self.nats_of(node))

    def blocked(self, node: int) -> bool:
        return any(nat.blocks_udp for nat in self.nats_of(node))

    def relayed(self, a: int, b: int) -> bool:
        """Whether a peer relay is there for the two: one grant is enough, UDP must pass on both sides."""
        granted = self.relay_users is not None and (a in self.relay_users or b in self.relay_users)
        return granted and not self.blocked(a) and not self.blocked(b)

    def __str__(self) -> str:
        lines = [f"{len(self.regions)} relays, {self.core_delay * 1000:.0f} ms across the Internet"]
        lines += [f"carrier NAT {i}: {nat}" for i, nat in enumerate(self.carriers)]
        for i, node in enumerate(self.nodes):
            lines.append(
                f"n{i + 1} port {node.port}, host {node.host} of site {node.site + 1}: {self.sites[node.site]}"
            )
        if self.relay_users is not None:
            users = ", ".join(f"n{user + 1}" for user in self.relay_users)
            lines.append(f"a peer relay, for {users or 'nobody'}")
        if self.control:
            lines.append("whole nodes with the control server")
        if self.fault is not None:
            lines.append(f"fault: n{self.victim + 1}, {self.fault.value}{' while idle' if self.idle else ''}")
        return "\n".join(lines)


class _Dice:
    """Draws a plan. Two nodes mostly, five in one of ten; a fault in every second one."""

    def __init__(self, name: str) -> None:
        self._chance = SeededRandomness(name)

    def one_in(self, many: int) -> bool:
        return self._chance.below(many) == 0

    def below(self, bound: int) -> int:
        return self._chance.below(bound)

    def between(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def nat(self, *, carrier: bool = False) -> NatPlan:
        mapping = HARD[self.below(2)] if self.one_in(3) else Mapping.ENDPOINT_INDEPENDENT
        allocations = list(Allocation) if mapping is Mapping.ENDPOINT_INDEPENDENT else list(Allocation)[1:]
        preserving = mapping is Mapping.ENDPOINT_INDEPENDENT and not self.one_in(3)
        return NatPlan(
            mapping,
            list(Filtering)[self.below(3)],
            Allocation.PRESERVING if preserving else allocations[self.below(len(allocations))],
            timeout=self.between(30, 120),
            hairpin=self.one_in(2),
            blocks_udp=self.one_in(12) and not carrier,
            pool=POOLS[self.below(len(POOLS))],
            cap=(1000, 2000)[self.below(2)] if self.one_in(6) else PORTS,
            step=1 + self.below(2),
            background=self.between(0, 20) if carrier else self.between(0, 2),
        )

    def site(self, number: int, carriers: int) -> SitePlan:
        open_site = self.one_in(6)
        layers = 0 if open_site else 2 if self.one_in(8) else 1
        return SitePlan(
            nats=tuple(self.nat() for _ in range(layers)),
            carrier=self.below(carriers) if layers and carriers and not self.one_in(3) else None,
            firewall=list(Filtering)[self.below(3)] if open_site and self.one_in(2) else None,
            v6=self.one_in(4),
            forwarded=layers == 1 and self.one_in(10),
            maps_ports=layers > 0 and self.one_in(8),
            subnet=1 if self.one_in(4) else number + 1,
            delay=self.between(0.0005, 0.03),
            jitter=self.between(0, 0.01),
            loss=self.between(0, 0.05) if self.one_in(3) else 0.0,
            doubled=self.between(0, 0.05) if self.one_in(4) else 0.0,
        )

    def protocols(self) -> tuple[Kind, ...]:
        """What a router that maps ports speaks: one, or all as many do."""
        return tuple(Kind) if self.one_in(4) else (list(Kind)[self.below(len(Kind))],)

    def relay_users(self, nodes: int) -> tuple[int, ...] | None:
        if not self.one_in(5):
            return None
        everybody = tuple(range(nodes))
        return (everybody, everybody, (self.below(nodes),), ())[self.below(4)]


def draw(seed: int) -> Plan:
    """The same seed gives the same plan."""
    plan = _enriched(_paths(_Dice(f"plan {seed}"), seed), _Dice(f"more of plan {seed}"))
    wires = _Dice(f"wires of plan {seed}")
    return replace(plan, sites=tuple(replace(site, mtu=MTUS[wires.below(len(MTUS))]) for site in plan.sites))


def _enriched(plan: Plan, dice: _Dice) -> Plan:
    """What is drawn here has dice of its own: the rest of a seed's network stays what it was without it."""
    sites = tuple(replace(site, mapping=dice.protocols()) if site.maps_ports else site for site in plan.sites)
    users, control, fault = dice.relay_users(len(plan.nodes)), dice.one_in(20), plan.fault
    if fault is not None and users and dice.one_in(3):
        fault = FaultKind.PEER_RELAY_LOST
    if fault is not None and control and dice.one_in(3):
        fault = FaultKind.CONTROL_RESTART
    return replace(plan, sites=sites, relay_users=users, control=control, fault=fault)


def _paths(dice: _Dice, seed: int) -> Plan:
    carriers = tuple(dice.nat(carrier=True) for _ in range(1 if dice.one_in(8) else 0))
    sites: list[SitePlan] = []
    nodes: list[NodePlan] = []
    for number in range(5 if dice.one_in(10) else 2):
        if not sites or not dice.one_in(10):
            sites.append(dice.site(len(sites), len(carriers)))
        port = 41641 if dice.one_in(2) else 20000 + dice.below(20000)
        nodes.append(NodePlan(len(sites) - 1, 10 if dice.one_in(8) and len(nodes) < len(sites) else 11 + number, port))
    return Plan(
        seed,
        tuple(sites),
        tuple(nodes),
        regions=tuple(dice.between(0.005, 0.1) for _ in range(1 + dice.below(4))),
        carriers=carriers,
        core_delay=dice.between(0.002, 0.08),
        fault=_ANYWHERE[dice.below(len(_ANYWHERE))] if seed % 2 else None,
        victim=dice.below(len(nodes)),
        idle=dice.one_in(3),
    )
