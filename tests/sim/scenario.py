"""One planned network played with real path finding, and judged.

Every pair exchanges packets at all times after its first second; every pair for which the oracle says so gets a
direct path in time and keeps it, every other one whose packets a peer relay may carry a path through that; after a
single fault there is a working path again in less than 3 s with traffic, and 7 s after it when idle.
"""

from __future__ import annotations

from contextlib import ExitStack

from appliance.types.ids import RegionId
from tests.sim.building import Terrain
from tests.sim.home_router import HomeRouter
from tests.sim.judge import (
    Pair,
    detours,
    judge_control,
    judge_paths,
    judge_recovery,
    judge_stillness,
    judge_wakening,
    pairs_of,
)
from tests.sim.nat import Nat
from tests.sim.network import Host, Quality, Realm
from tests.sim.node import SimNode
from tests.sim.oracle import LOSSY_S, verdicts
from tests.sim.outcome import Outcome
from tests.sim.plan import FaultKind, Plan, draw
from tests.sim.port_mapping import SimPortMapper
from tests.sim.real_control import RealControl
from tests.sim.relay import SimRelay
from tests.sim.servers import Control, DerpWorld, Region
from tests.sim.world import World

START_S = 6.5
"""Long enough for a netcheck without UDP."""
LOGIN_S = 2.0
"""For the real control server before it: key, tunnel, registration, map."""
SETTLE_S = 13.0
STILL_S = 18.0
FAULT_S = 15.0
IDLE_LIMIT_S = 7.0
RELAY_DOWN_S = 1.0
CONTROL_DOWN_S = 2.0
RELAY = "relay"


class Network:
    """The nodes on their terrain; what must be closed goes on `stack`."""

    def __init__(self, plan: Plan, stack: ExitStack) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.terrain = Terrain(self.world, plan)
        regions = [
            Region(RegionId(900 + i), f"203.0.113.{i + 1}", delay, ip6=f"2001:db8:ffff::{i + 1}")
            for i, delay in enumerate(plan.regions)
        ]
        self.derp = DerpWorld(self.world, self.terrain.internet, regions)
        self.control = self._control(stack)
        self.nodes = [self._node(number) for number in range(len(plan.nodes))]
        self.mappers = {number: mapper for number in range(len(plan.nodes)) if (mapper := self._mapper(number))}
        self.relay = self._relay(plan.relay_users) if plan.relay_users is not None else None

    @property
    def start_s(self) -> float:
        """From nothing to a home region."""
        return START_S + LOGIN_S if self.plan.control else START_S

    def _control(self, stack: ExitStack) -> Control | RealControl:
        derp_map = self.derp.derp_map()
        if not self.plan.control:
            return Control(self.world, derp_map)
        names = [*(f"n{number + 1}" for number in range(len(self.plan.nodes))), RELAY]
        real = RealControl(self.world, derp_map, names, self.plan.core_delay)
        stack.callback(real.close)
        return real

    def _node(self, number: int) -> SimNode:
        static = self.terrain.static_endpoints(number)
        host = self.terrain.hosts[number]
        return SimNode(self.world, f"n{number + 1}", number + 1, host, self.derp, self.control, static=static)

    def _mapper(self, number: int) -> SimPortMapper | None:
        site = self.plan.sites[self.plan.nodes[number].site]
        nat = self.terrain.router_of(number)
        if nat is None or not site.maps_ports or site.forwarded:
            return None
        node, router_ip = self.nodes[number], f"192.168.{site.subnet}.1"
        return SimPortMapper(self.world, node, HomeRouter(self.world, node.host.realm, router_ip, nat, site.mapping))

    def _relay(self, users: tuple[int, ...]) -> SimRelay:
        """A public node whose relay listens at an address of its own; only who has the grant is told of it."""
        host = Host(self.world, self.terrain.internet, "192.0.2.210")
        node = SimNode(self.world, RELAY, len(self.nodes) + 1, host, self.derp, self.control)
        granted = {self.nodes[user] for user in users}
        relay = SimRelay(self.world, node, Host(self.world, self.terrain.internet, "192.0.2.211", 41642), granted)
        if isinstance(self.control, RealControl):
            self.control.serves_relay(
                node.id, relay.plugin.offer, [each.name for each in self.nodes if each in granted]
            )
        else:
            for each in granted:
                each.use_relays(frozenset({node.key}))
        return relay

    def pairs(self) -> list[Pair]:
        plan = self.plan
        stable = [
            plan.stable(number) and not plan.sites[node.site].maps_ports for number, node in enumerate(plan.nodes)
        ]
        return pairs_of(self.nodes, verdicts(self.plan), stable)

    def talk(self) -> None:
        """Everybody sends to everybody, 10 packets a second."""
        for a in self.nodes:
            a.quiet.clear()
            for b in self.nodes:
                if a is not b:
                    self.world.after(self.world.randomness.uniform(0, 0.1), lambda a=a, b=b: a.talk_to(b))

    def hush(self) -> None:
        for node in self.nodes:
            node.quiet.update(other.key for other in self.nodes)

    # Faults

    def break_something(self) -> tuple[float, float]:
        """The plan's fault; returns the seconds that it lasts itself, and those that mending may take besides 3 s."""
        kind, victim = self.plan.fault, self.nodes[self.plan.victim]
        site = self.terrain.sites[self.plan.nodes[self.plan.victim].site]
        self.world.note("world", f"fault: {victim.name}, {kind.value if kind else ''}")
        dialling = 4 * max(self.plan.regions)
        match kind:
            case FaultKind.STATE_LOST:
                for guard in site.guards:
                    guard.reboot()
            case FaultKind.UDP_BLOCKED:
                for guard in site.guards:
                    guard.blocks_udp = True
            case FaultKind.ROAM | FaultKind.ROAM_UNNOTICED:
                self._roam(victim, noticed=kind is FaultKind.ROAM)
                return 0.0, dialling
            case FaultKind.RESTART:
                victim.restart()
                return 0.0, self.start_s  # a home region must be found again, by HTTPS when UDP is blocked
            case FaultKind.SUSPEND:
                seconds = 5.0 + 10.0 * (self.plan.seed % 7)
                victim.suspend(seconds)
                return seconds, dialling
            case FaultKind.RELAY_RESTART:
                self.derp.restart(victim.pool.home, RELAY_DOWN_S)
                return RELAY_DOWN_S, dialling
            case FaultKind.LOSS:
                site.lan.quality.loss += 0.05
            case FaultKind.DELAY:
                site.lan.quality.delay += 0.15
            case FaultKind.PEER_RELAY_LOST if self.relay is not None:
                self.relay.die()
            case FaultKind.CONTROL_RESTART if isinstance(self.control, RealControl):
                self.control.interrupt(CONTROL_DOWN_S)
        return 0.0, 0.0

    def _roam(self, victim: SimNode, *, noticed: bool) -> None:
        realm = Realm(self.world, Quality(0.005))
        Nat(self.world, realm, self.terrain.internet, "198.51.100.99")
        victim.host.move(realm, "192.168.200.10")
        if noticed:
            if (mapper := self.mappers.get(self.plan.victim)) is not None:
                mapper.network_lost()
            victim.link_changed()


def play(plan: Plan | int) -> Outcome:
    """Play a plan, or the one of a seed."""
    plan = draw(plan) if isinstance(plan, int) else plan
    with ExitStack() as stack:
        return _play(Network(plan, stack))


def _play(network: Network) -> Outcome:
    plan = network.plan
    pairs = network.pairs()
    world = network.world
    outcome = Outcome(plan.seed, fault=_fault_name(plan), story=str(plan))
    world.run(network.start_s)
    since = world.now
    world.note("world", "everybody talks to everybody")
    network.talk()
    settle = max(SETTLE_S, LOSSY_S if any(pair.verdict.by_s >= LOSSY_S for pair in pairs) else 0.0)
    world.run(settle)
    judge_paths(pairs, since, outcome)
    world.run(STILL_S)
    judge_stillness(pairs, since, settle, world.now, outcome)
    if plan.fault is not None:
        _fault_while_idle(network, pairs, outcome) if plan.idle else _fault_with_traffic(network, pairs, outcome)
    if isinstance(network.control, RealControl):
        judge_control(network.control.troubles, network.control.away, outcome)
    outcome.timeline = world.timeline.text()
    return outcome


def _fault_name(plan: Plan) -> str:
    return "" if plan.fault is None else plan.fault.name.lower() + (" while idle" if plan.idle else "")


def _fault_with_traffic(network: Network, pairs: list[Pair], outcome: Outcome) -> None:
    at = network.world.now
    longer = detours(pairs, network.plan.core_delay)
    lasts, slack = network.break_something()
    network.world.run(lasts + slack + FAULT_S)
    slacks = [slack + detour for detour in longer]
    judge_recovery(pairs, at, network.world.now, lasts, slacks, outcome)


def _fault_while_idle(network: Network, pairs: list[Pair], outcome: Outcome) -> None:
    world = network.world
    network.hush()
    world.run(4.0)
    world.run(sum(network.break_something()) + IDLE_LIMIT_S)
    world.note("world", "everybody talks again")
    at = world.now
    network.talk()
    world.run(3.0)
    judge_wakening(pairs, at, 1.0 + 8 * max(network.plan.regions), outcome)


def report(outcome: Outcome) -> str:
    """A failed seed for its reader."""
    problems = [f"{problem.kind}: {problem.text}" for problem in outcome.problems]
    return "\n".join([f"seed {outcome.seed}", *problems, "", outcome.story, "", outcome.timeline])
