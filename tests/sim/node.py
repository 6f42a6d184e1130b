"""A whole node of the simulator: the product's machine and driver on a simulated engine, relay pool and host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import pairwise

from appliance.crypto.x25519 import clamp, public_key
from appliance.magicsock.driver import Driver
from appliance.magicsock.hard_nat.plan import MAX_SOCKETS
from appliance.magicsock.machine import Magicsock
from appliance.magicsock.outbox import PingAnswered, RelayAsked
from appliance.magicsock.status import NetInfoChanged, PathStatus, PortMappingSeen
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import DiscoKeys, RelayEndpoint
from appliance.types.addresses import Address, AddrPort
from appliance.types.events import EndpointsChanged, HomeDerpChanged, PathChanged, PathKind
from appliance.types.ids import NodeId, RegionId
from appliance.types.keys import DiscoPrivateKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, NetmapDiff, Node
from tests.sim.engine import SimEngine
from tests.sim.network import Host
from tests.sim.servers import DerpWorld, MeshControl, SimPool
from tests.sim.side_ports import HostSidePorts
from tests.sim.world import World


class SimNode:
    """`received[peer]` lists (time, payload) of what came; `paths[peer]` the path's history."""

    def __init__(
        self,
        world: World,
        name: str,
        number: int,
        host: Host,
        derp: DerpWorld,
        control: MeshControl,
        derp_delay: float = 0.0,
        static: Sequence[AddrPort] = (),
        side_sockets: int = MAX_SOCKETS,
    ) -> None:
        self.world, self.name, self.host, self._derp, self._control = world, name, host, derp, control
        self.id = NodeId(number)
        self._derp_delay = derp_delay
        self._randomness = SeededRandomness(f"node {number} of {world.seed}")
        self.private_key = NodePrivateKey(clamp(self._randomness.bytes(32)))
        self.key: NodePublicKey = public_key(self.private_key)
        self.received: dict[NodePublicKey, list[tuple[float, bytes]]] = defaultdict(list)
        self.paths: dict[NodePublicKey, list[tuple[float, PathKind, AddrPort | None]]] = defaultdict(list)
        self._static, self.side_sockets = tuple(static), side_sockets
        self._mapped: PortMappingSeen | None = None
        self._relays: frozenset[NodePublicKey] = frozenset()
        self.quiet: set[NodePublicKey] = set()
        self.pings: list[PingAnswered] = []
        self.events: list[object] = []
        self.relay: Callable[[RelayAsked], RelayEndpoint | None] | None = None
        """Set where the node relays for others."""
        self.measures = not SeededRandomness(f"measures {number} of {world.seed}").below(2)
        """Whether it makes the optional measurements of paths, as every second node does."""
        self._sequence = 0
        self._life = 0
        self._make()
        control.join(self, self.id, self.key, self.machine.disco_public_key, f"100.64.0.{number}/32")
        self._start()

    def _make(self) -> None:
        self._life += 1
        self._timer_wish = 0
        keys = DiscoKeys(DiscoPrivateKey(clamp(self._randomness.bytes(32))))
        self.machine = Magicsock(keys, self._randomness, lambda region: self.pool.last_frame_at(region))
        self.engine = SimEngine(self.world, self.host, self.key, self._delivered)
        life = _Life(self)
        self.pool = SimPool(self._derp, life, self._derp_delay)
        self.pool.key = self.key
        self.machine.hard_nat.max_sockets = self.side_sockets
        self.machine.set_probes(sizes=self.measures, lifetimes=self.measures)
        self.side = HostSidePorts(self.host)
        self.driver = Driver(self.machine, self.engine, self.pool, self.world.clock, self, self.side)
        life.driver = self.driver
        self.engine.set_sink(self.driver)

    def _start(self) -> None:
        self.machine.set_node_key(self.key, self.world.now)
        derp_map = self._control.first_derp_map()
        if derp_map is not None:
            self.machine.set_derp_map(derp_map, self.world.now)
        if self._mapped is not None:
            self.machine.set_port_mapping(self._mapped, self.world.now)
        if self._relays:
            self.machine.set_relays(self._relays, enabled=True, now=self.world.now)
        if self._static:
            self.machine.set_static_endpoints(self._static, self.world.now)
        self.driver.drain()

    # The world's hand

    def restart(self) -> None:
        """Killed and started: nothing is remembered, the disco key is new."""
        self.world.note(self.name, "restarts")
        _finish(self.pool.close())
        self._make()
        self._control.restart(self.id, self.machine.disco_public_key)
        self._start()

    def port_mapped(self, seen: PortMappingSeen) -> None:
        """The router mapped a port to us, or took it back; known to a later life too, as a mapper asks at once."""
        self._mapped = seen
        self.machine.set_port_mapping(seen, self.world.now)
        self.driver.drain()

    def suspend(self, seconds: float) -> None:
        """Sleep: deaf and dumb, timers wait. On waking the clock has leapt, and the system tells of the link."""
        self.world.note(self.name, f"sleeps for {seconds:.0f} s")
        self.host.asleep = True
        self.world.after(seconds, self._wake)

    def _wake(self) -> None:
        self.world.note(self.name, "wakes")
        self.host.asleep = False
        self.driver.timer()
        self.link_changed()

    def link_changed(self, major: bool = True) -> None:
        self.machine.link_changed(major, self.world.now)
        self.driver.drain()
        if major:
            self._control.link_changed(self.id)

    def use_relays(self, servers: frozenset[NodePublicKey]) -> None:
        """The peers that the policy lets this node use as relays; known to a later life too, as control tells it."""
        self._relays = servers
        self.machine.set_relays(servers, enabled=True, now=self.world.now)
        self.driver.drain()

    def derp_map_changed(self, derp_map: DerpMap) -> None:
        self.machine.set_derp_map(derp_map, self.world.now)
        self.driver.drain()

    def netmap_changed(self, diff: NetmapDiff, self_node: Node | None = None) -> None:
        if self_node is not None:
            self.machine.set_self(self_node)
        self.machine.apply(diff, self.world.now)
        self.driver.drain()

    def send(self, peer: SimNode) -> None:
        self._sequence += 1
        self.engine.send(peer.key, self._sequence.to_bytes(8, "big") + self._life.to_bytes(2, "big"))

    def talk_to(self, peer: SimNode, every: float = 0.1, seconds: float = float("inf")) -> None:
        """Send a packet now and again, until `quiet` names the peer."""
        end = self.world.now + seconds

        def tick() -> None:
            if self.world.now < end and peer.key not in self.quiet:
                if not self.host.asleep:
                    self.send(peer)
                self.world.after(every, tick)

        tick()

    def ping(self, peer: SimNode, token: int = 1) -> None:
        self.machine.ping(peer.key, token, self.world.now)
        self.driver.drain()

    def takes_every_address(self) -> None:
        """As a stock client: our own bound of addresses per peer is not its. For the peers that it knows by now."""
        for peer in self.machine._peers:
            peer.candidates.most = 2000

    # What is seen

    def _delivered(self, peer: NodePublicKey, payload: bytes) -> None:
        self.received[peer].append((self.world.now, payload))

    def status(self, peer: SimNode) -> PathStatus:
        status = self.machine.status(peer.key, self.world.now)
        assert status is not None
        return status

    def direct_to(self, peer: SimNode) -> bool:
        status = self.machine.status(peer.key, self.world.now)
        return status is not None and status.kind == PathKind.DIRECT

    def heard(self, peer: SimNode, since: float) -> bool:
        history = self.received[peer.key]
        return bool(history) and history[-1][0] >= since

    def longest_silence(self, peer: SimNode, since: float, until: float) -> float:
        """Longest time without a packet of the peer in that span."""
        times = [since, *(at for at, _ in self.received[peer.key] if since <= at <= until), until]
        return max(b - a for a, b in pairwise(times))

    # Surroundings of the driver

    def publish(self, event: object) -> None:
        self.events.append(event)
        match event:
            case PathChanged(peer, kind, endpoint, region, latency):
                self.paths[peer].append((self.world.now, kind, endpoint))
                where = f"{endpoint or region or ''}"
                self.world.note(self.name, f"path to {peer.short}: {kind} {where} {latency * 1000:.1f} ms")
            case EndpointsChanged(endpoints):
                self.world.note(self.name, "endpoints " + " ".join(str(e.addr_port) for e in endpoints))
                self._control.set_endpoints(self.id, endpoints)
            case HomeDerpChanged(region):
                self.world.note(self.name, f"home region {region}")
                self._control.set_home(self.id, region)
            case NetInfoChanged(info):
                self._control.set_net_info(self.id, info)

    def interface_addresses(self) -> Sequence[Address]:
        own = (self.host.ip,) if self.host.ip6 is None else (self.host.ip, self.host.ip6)
        return tuple(ip_address(address) for address in (*own, "127.0.0.1"))

    def resolve(self, names: Sequence[str]) -> None:
        raise AssertionError(f"the simulated map has literals, yet {names} are asked for")

    def measure_https(self, regions: Sequence[RegionId]) -> None:
        for region in regions:
            latency = _finish(self.pool.measure_https(region))
            self.world.after(latency or 1.0, lambda r=region, s=latency: self.driver.https_measured(r, s))

    def find_captive_portal(self, hosts: Sequence[str]) -> None:
        raise AssertionError(f"simulated relays have no port 80, yet {hosts} are asked")

    def rebind_derp(self) -> None:
        _finish(self.pool.rebind())

    def ping_answered(self, answer: PingAnswered) -> None:
        self.pings.append(answer)

    def relay_asked(self, asked: RelayAsked) -> RelayEndpoint | None:
        return self.relay(asked) if self.relay is not None else None

    def timer_changed(self, deadline: float | None) -> None:
        self._timer_wish += 1
        wish, life = self._timer_wish, self._life
        if deadline is not None:
            self.world.at(deadline, lambda: self._timer(wish, life))

    def _timer(self, wish: int, life: int) -> None:
        if wish == self._timer_wish and life == self._life and not self.host.asleep:
            self.driver.timer()


class _Life:
    """The sink of one life's pool: late events of an earlier life reach nobody."""

    driver: Driver

    def __init__(self, node: SimNode) -> None:
        self._node = node

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        if not self._node.host.asleep:
            self.driver.derp_received(region, source, packets)

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        self.driver.derp_peer_gone(region, peer, not_here)

    def derp_connected(self, region: RegionId) -> None:
        self.driver.derp_connected(region)

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        self.driver.derp_disconnected(region, error)


def _finish(coroutine):
    """Run a coroutine of a twin that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a twin waited")
