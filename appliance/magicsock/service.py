"""Path finding as a running service: the machine with asyncio timers, name look-ups and the event bus around it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from math import inf
from typing import Any

from appliance.crypto.x25519 import clamp, public_key
from appliance.magicsock.derp.interface import DerpPool, DerpSink
from appliance.magicsock.driver import Driver
from appliance.magicsock.errors import PingTimeoutError, UnknownPeerError
from appliance.magicsock.machine import Magicsock
from appliance.magicsock.netcheck.captive import CaptiveProbe
from appliance.magicsock.netcheck.report import NetcheckDone, Report
from appliance.magicsock.outbox import PingAnswered, RelayAsked
from appliance.magicsock.status import HairpinSeen, NetInfo, PathStatus, PingResult, PortMappingSeen
from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.ports.randomness import Randomness
from appliance.ports.side_ports import SidePorts
from appliance.ports.underlay import Underlay
from appliance.proto.disco import DiscoKeys, RelayEndpoint
from appliance.proto.stun import TX_ID_SIZE, encode_request
from appliance.types.addresses import Address, AddrPort, literal, unmap
from appliance.types.events import PathKind
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, Endpoint, NetmapDiff, Node

PING_REPEAT_S = 1.0
NETCHECK_LIMIT_S = 15.0
ICMP_LIMIT_S = 1.0
HAIRPIN_TRIES = 2
HAIRPIN_WAIT_S = 0.25

Interfaces = Callable[[], Sequence[Address]]
Resolver = Callable[[str], Coroutine[Any, Any, Sequence[Address]]]
CaptiveFinder = Callable[[Sequence[CaptiveProbe]], Coroutine[Any, Any, bool | None]]
Echo = Callable[[Address, float], Coroutine[Any, Any, float]]
"""ICMP echo within so many seconds; the seconds it took. Raises OSError, `TimeoutError` among them."""
PoolFactory = Callable[[DerpSink], DerpPool]


async def no_captive_finder(_probes: Sequence[CaptiveProbe]) -> bool | None:
    """For places without plain HTTP: nothing can be found out."""
    return None


async def resolve_by_host(name: str) -> Sequence[Address]:
    """Addresses of a name by the host's resolver; empty when it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(unmap(ip_address(str(entry[4][0]).partition("%")[0])) for entry in found))


class MagicsockService:
    """Owns the machine, its one timer and the DERP pool.

    A new disco key is made at every construction (1.1) unless one is given: a gateway that starts without its control
    server keeps the key that its peers know, since nobody could tell them another.
    `side`: more UDP sockets, of which an attempt at a hard NAT may open `hard_nat_sockets`.
    `interfaces` gives the addresses of this host's interfaces without the tunnel's; it must be quick.
    """

    def __init__(
        self,
        underlay: Underlay,
        pool_factory: PoolFactory,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
        interfaces: Interfaces,
        *,
        resolver: Resolver = resolve_by_host,
        captive_finder: CaptiveFinder = no_captive_finder,
        echo: Echo | None = None,
        disco_key: DiscoPrivateKey | None = None,
        side: SidePorts | None = None,
        hard_nat_sockets: int = 0,
    ) -> None:
        self._underlay = underlay
        self._clock = clock
        self._bus = bus
        self._interfaces = interfaces
        self._resolver = resolver
        self._captive_finder = captive_finder
        self._echo = echo
        self._randomness = randomness
        self._derp_map = DerpMap()
        self._hairpin_seen = asyncio.Event()
        self.disco_private_key = disco_key or DiscoPrivateKey(clamp(randomness.bytes(32)))
        self._machine = Magicsock(DiscoKeys(self.disco_private_key), randomness, self._last_frame_at)
        self._sink = _LateSink()
        self._pool = pool_factory(self._sink)
        self._machine.hard_nat.max_sockets = hard_nat_sockets if side is not None else 0
        self._driver = Driver(self._machine, underlay, self._pool, clock, self, side)
        self._sink.driver = self._driver
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._tokens = itertools.count(1)
        self._pings: dict[int, asyncio.Future[PingAnswered]] = {}
        self._netchecks: list[tuple[int, asyncio.Future[Report]]] = []
        self._addresses: tuple[Address, ...] = ()
        self._running = False
        self.serve_relay: Callable[[RelayAsked], RelayEndpoint | None] = lambda _asked: None
        """Given where this node may be a relay: the meeting place for a peer that asks, None = it may not have one."""

    def _last_frame_at(self, region: RegionId) -> float | None:
        return self._pool.last_frame_at(region)

    # Life

    async def start(self) -> None:
        """Listen to the engine and let time pass."""
        self._running = True
        self._underlay.set_sink(self._driver)
        self._drain()

    async def close(self) -> None:
        """Stop timers and tasks and close the relay connections. Safe to call twice."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for ping in self._pings.values():
            ping.cancel()
        for _, netcheck in self._netchecks:
            netcheck.cancel()
        await self._pool.close()

    def _drain(self) -> None:
        """Before `start` what the machine asks for only waits."""
        if self._running:
            self._driver.drain()

    # Configuration

    def set_private_key(self, key: NodePrivateKey | None) -> None:
        """Our node key; None = logged out."""
        if key is not None:
            self._pool.set_private_key(key)
        self._machine.set_node_key(public_key(key) if key is not None else None, self._clock.now())
        self._drain()

    def set_derp_map(self, derp_map: DerpMap) -> None:
        self._derp_map = derp_map
        self._pool.set_derp_map(derp_map)
        self._machine.set_derp_map(derp_map, self._clock.now())
        self._drain()

    def apply(self, diff: NetmapDiff, self_node: Node | None = None) -> None:
        """What changed among the peers; `self_node` when our own node changed. The engine must know the peers first."""
        if self_node is not None:
            self._machine.set_self(self_node)
        self._machine.apply(diff, self._clock.now())
        self._drain()

    def learn_disco_key(self, peer: NodePublicKey, disco_key: DiscoPublicKey) -> bool:
        """A key that the peer told through its authenticated tunnel (1.8). False: nothing changed."""
        learned = self._machine.learn_disco_key(peer, disco_key, self._clock.now())
        self._drain()
        return learned

    def set_static_endpoints(self, endpoints: Sequence[AddrPort]) -> None:
        self._machine.set_static_endpoints(endpoints, self._clock.now())
        self._drain()

    def set_probes(self, *, sizes: bool, lifetimes: bool) -> None:
        """Which optional measurements are made: how large packets may be on a path, how long an idle one lives."""
        self._machine.set_probes(sizes=sizes, lifetimes=lifetimes)

    def set_relays(self, servers: frozenset[NodePublicKey], *, enabled: bool) -> None:
        """Peers that the policy lets this node use as relays."""
        self._machine.set_relays(servers, enabled=enabled, now=self._clock.now())
        self._drain()

    def set_fixed_port(self, fixed: bool) -> None:
        """Whether the WireGuard port is always the same, so that one forwarded by hand may lead to it."""
        self._machine.locator.own.set_fixed_port(fixed)

    def set_port_mapping(self, mapping: PortMappingSeen) -> None:
        """What the router gave us, and which protocols it speaks."""
        self._machine.set_port_mapping(mapping, self._clock.now())
        self._drain()

    def set_control_connected(self, connected: bool) -> None:
        """While control cannot be told, the home region does not move."""
        self._machine.set_control_connected(connected)

    def link_changed(self, major: bool) -> None:
        """The host's network changed; `major` re-opens the sockets."""
        self._machine.link_changed(major, self._clock.now())
        self._drain()

    # What is known

    @property
    def disco_public_key(self) -> DiscoPublicKey:
        return self._machine.disco_public_key

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._machine.locator.endpoints

    @property
    def home_region(self) -> RegionId:
        """0 = none yet."""
        return self._machine.locator.home

    @property
    def connected_regions(self) -> Sequence[RegionId]:
        return self._pool.connected_regions()

    @property
    def home_error(self) -> str:
        """Why the home region cannot be reached, "" when it can."""
        return self._pool.last_error(self.home_region) if self.home_region else ""

    def disco_key_of(self, peer: NodePublicKey) -> DiscoPublicKey | None:
        """The disco key in use toward the peer: control's, or one that the peer told since."""
        return self._machine.disco_key_of(peer)

    def net_info(self) -> NetInfo:
        return self._machine.locator.net_info()

    def last_report(self) -> Report | None:
        """The last netcheck's, None before the first."""
        return self._machine.locator.report

    def status(self, peer: NodePublicKey) -> PathStatus | None:
        """None for a node outside the netmap."""
        return self._machine.status(peer, self._clock.now())

    def counters(self) -> Mapping[str, int]:
        """Drops and limits by name, for metrics."""
        return self._machine.counters

    # Requests of people

    async def ping(self, peer: NodePublicKey, timeout_s: float = 5.0) -> PingResult:
        """The first answer by any path. Raises `UnknownPeerError`, `PingTimeoutError`."""
        token = next(self._tokens)
        future = self._pings[token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ping_until_answered(peer, token, future)
        except TimeoutError:
            raise PingTimeoutError(
                f"no answer from {peer.short} within {timeout_s:g} s", mend="see its path with `waypost status`"
            ) from None
        finally:
            del self._pings[token]
        via = PathKind.DIRECT if answer.vni is None else PathKind.PEER_RELAY
        if answer.endpoint is None:
            via = PathKind.DERP
        return PingResult(peer, via, answer.latency_s, answer.endpoint, answer.region)

    async def _ping_until_answered(
        self, peer: NodePublicKey, token: int, future: asyncio.Future[PingAnswered]
    ) -> PingAnswered:
        while not future.done():
            if not self._machine.ping(peer, token, self._clock.now()):
                raise UnknownPeerError(f"{peer.short} is not a peer that can be pinged", mend="see `waypost status`")
            self._drain()
            await asyncio.wait((future,), timeout=PING_REPEAT_S)
        return future.result()

    async def netcheck(self) -> Report:
        """A full netcheck now. Raises `TimeoutError` when there is no DERP map or no key to run it with."""
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        waiting = (self._machine.netcheck_wanted(self._clock.now()), future)
        self._netchecks.append(waiting)
        self._drain()
        try:
            async with asyncio.timeout(NETCHECK_LIMIT_S):
                return await future
        finally:
            if waiting in self._netchecks:
                self._netchecks.remove(waiting)

    # Surroundings of the driver

    def publish(self, event: object) -> None:
        if isinstance(event, HairpinSeen):
            self._hairpin_seen.set()
        if isinstance(event, NetcheckDone):
            for waiting in [w for w in self._netchecks if w[0] <= event.run]:
                self._netchecks.remove(waiting)
                if not waiting[1].done():
                    waiting[1].set_result(event.report)
        self._bus.publish(event)

    def interface_addresses(self) -> Sequence[Address]:
        """The last known ones when the host refuses to say."""
        with suppress(OSError):
            self._addresses = tuple(self._interfaces())
        return self._addresses

    def resolve(self, names: Sequence[str]) -> None:
        self._spawn(self._resolve(names), "magicsock names")

    async def _resolve(self, names: Sequence[str]) -> None:
        found = await asyncio.gather(*(self._resolver(name) for name in names))
        self._driver.names_resolved(dict(zip(names, found, strict=True)))

    def measure_https(self, regions: Sequence[RegionId]) -> None:
        for region in regions:
            self._spawn(self._measure_https(region), f"magicsock https {region}")

    async def _measure_https(self, region: RegionId) -> None:
        https, icmp = await asyncio.gather(self._pool.measure_https(region), self._measure_icmp(region))
        if icmp is not None:
            self._driver.icmp_measured(region, icmp)
        self._driver.https_measured(region, https)

    async def _measure_icmp(self, region: RegionId) -> float | None:
        """Seconds to the first node's IPv4 address, infinite when it is silent, None where it cannot be asked."""
        known = self._derp_map.regions.get(region)
        node = known.nodes[0] if known is not None and known.nodes else None
        if node is None or node.stun_port < 0 or self._echo is None:
            return None
        address = literal(node.ipv4)
        found = [address] if address is not None else await self._resolver(node.host_name)
        address = next((each for each in found if each.version == 4), None)
        if address is None:
            return None
        try:
            return await self._echo(address, ICMP_LIMIT_S)
        except TimeoutError:
            return inf
        except OSError:
            return None  # not permitted, or no way there

    async def hairpins(self, send: Callable[[AddrPort, bytes], None]) -> bool | None:
        """Whether what `send` (from another port) sends to our own outside address comes back; None: there is none."""
        report = self.last_report()
        if report is None or report.global_v4 is None:
            return None
        tx_id = self._randomness.bytes(TX_ID_SIZE)
        self._machine.await_hairpin(tx_id)
        self._hairpin_seen.clear()
        try:
            for _ in range(HAIRPIN_TRIES):
                send(report.global_v4, encode_request(tx_id))
                with suppress(TimeoutError):
                    async with asyncio.timeout(HAIRPIN_WAIT_S):
                        await self._hairpin_seen.wait()
                        return True
            return False
        finally:
            self._machine.await_hairpin(b"")

    def find_captive_portal(self, hosts: Sequence[str]) -> None:
        self._spawn(self._find_captive_portal(hosts), "magicsock captive portal")

    async def _find_captive_portal(self, hosts: Sequence[str]) -> None:
        self._driver.captive_found(await self._captive_finder([CaptiveProbe(host) for host in hosts]))

    def rebind_derp(self) -> None:
        self._spawn(self._pool.rebind(), "magicsock rebind")

    def ping_answered(self, answer: PingAnswered) -> None:
        future = self._pings.get(answer.token)
        if future is not None and not future.done():
            future.set_result(answer)

    def relay_asked(self, asked: RelayAsked) -> RelayEndpoint | None:
        return self.serve_relay(asked)

    def timer_changed(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._running:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + max(0.0, deadline - self._clock.now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._driver.timer()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _LateSink:
    """The pool wants its sink before the driver, which wants the pool, exists."""

    driver: Driver

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.driver.derp_received(region, source, packets)

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        self.driver.derp_peer_gone(region, peer, not_here)

    def derp_connected(self, region: RegionId) -> None:
        self.driver.derp_connected(region)

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        self.driver.derp_disconnected(region, error)
