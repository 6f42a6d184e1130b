"""Engines on in-memory ports and a virtual clock, joined by a network and a relay that can lose and reorder."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from appliance.crypto.x25519 import clamp, public_key
from appliance.engine.userspace import UserspaceEngine
from appliance.engine.userspace.packet_step import PacketStep
from appliance.ports.clock import VirtualClock
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.packets import MemoryTunPort, MemoryUdpPort, Segments, one
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import PeerActivity, PeerPath
from appliance.proto.wireguard import Settings
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.packets import TunPacket

PORT = 41641


class VirtualLoop:
    """Alarms on a virtual clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._queue: list[tuple[float, int, VirtualAlarm]] = []
        self._count = itertools.count()

    def call_later(self, delay: float, callback: Callable[[], object], /) -> VirtualAlarm:
        alarm = VirtualAlarm(callback)
        heapq.heappush(self._queue, (self.clock.now() + delay, next(self._count), alarm))
        return alarm

    def next_at(self) -> float:
        return self._queue[0][0] if self._queue else float("inf")

    def run_next(self) -> None:
        alarm = heapq.heappop(self._queue)[2]
        if not alarm.cancelled:
            alarm.callback()


class VirtualAlarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class RecordingSink:
    """Keeps what the engine tells path finding; relayed packets go on to the relay of the world."""

    relay: Callable[[NodePublicKey, Sequence[bytes]], None]
    datagrams: list[tuple[AddrPort, bytes]] = field(default_factory=list)
    relayed: list[tuple[NodePublicKey, bytes]] = field(default_factory=list)
    wanted: list[NodePublicKey] = field(default_factory=list)
    reports: list[tuple[float, PeerActivity]] = field(default_factory=list)
    failures: list[tuple[NodePublicKey | None, AddrPort, OSError]] = field(default_factory=list)
    clock: VirtualClock | None = None

    def datagrams_received(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        self.datagrams.extend(batch)

    def relay_packets(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.relayed.extend((peer, packet) for packet in packets)
        self.relay(peer, packets)

    def peer_wanted(self, peer: NodePublicKey) -> None:
        self.wanted.append(peer)

    def activity(self, reports: Sequence[PeerActivity]) -> None:
        assert self.clock is not None
        self.reports.extend((self.clock.now(), report) for report in reports)

    def send_failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        self.failures.append((peer, to, error))


class Node:
    """An engine with its device, ports and sink. Overlay addresses 100.64.0.N and fd7a::N, underlay 192.0.2.N."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.private = NodePrivateKey(clamp(world.randomness.bytes(32)))
        self.key = public_key(self.private)
        self.addr = AddrPort(f"192.0.2.{number}", PORT)
        self.v4, self.v6 = f"100.64.0.{number}", f"fd7a::{number}"
        self.tun = MemoryTunPort(mtu=1280, offloading=world.offloading)
        self.ports: list[MemoryUdpPort] = []
        self.taken: set[int] = set()
        self.sink = RecordingSink(self._relay, clock=world.clock)
        self.engine = UserspaceEngine(
            self.tun,
            self._open,
            world.clock,
            world.randomness,
            port=PORT,
            settings=world.settings,
            loop=world.loop,
            step=world.step,
        )
        self.engine.set_sink(self.sink)

    def _open(self, port: int) -> Sequence[MemoryUdpPort]:
        if port in self.taken:
            raise OSError("port is taken")
        self.ports = [MemoryUdpPort(AddrPort(host, port or 50000), self._wire) for host in ("0.0.0.0", "::")]
        return self.ports

    def _wire(self, local: AddrPort, to: AddrPort, batch: Segments) -> None:
        copy = Segments(bytes(batch.buffer), batch.size)
        self.world.wire(AddrPort(self.addr.ip, local.port), to, copy)

    def _relay(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.world.flights.append(lambda: self.world.by_key[peer].engine.inject(self.key, packets))

    def as_peer(self, *extra: str) -> EnginePeer:
        prefixes = (f"{self.v4}/32", f"{self.v6}/128", *extra)
        return EnginePeer(self.key, tuple(ip_network(prefix) for prefix in prefixes))

    def push(self, packet: bytes | TunPacket) -> None:
        """The host sends into the tunnel; the network then carries everything."""
        self.tun.push(packet if isinstance(packet, TunPacket) else TunPacket(packet))
        self.world.carry()

    def got(self) -> list[bytes]:
        """What the host received since last asked."""
        packets = [bytes(packet.data) for packet in self.tun.sent]
        self.tun.sent.clear()
        return packets


class World:
    """`lose(source, to, batch)` True loses a UDP batch; `shuffle` reorders what is in flight. `offloading`: whether the
    TUN devices of nodes made from now on take super-packets."""

    def __init__(self, seed: int = 1, step: PacketStep | None = None) -> None:
        self.step = step
        self.settings = Settings()
        self.offloading = True
        self.clock = VirtualClock()
        self.randomness = SeededRandomness(seed)
        self.loop = VirtualLoop(self.clock)
        self.flights: deque[Callable[[], None]] = deque()
        self.sent: list[tuple[AddrPort, AddrPort, Segments]] = []
        self.lose: Callable[[AddrPort, AddrPort, Segments], bool] = lambda source, to, batch: False
        self.shuffle = False
        self.nodes: dict[str, Node] = {}
        self.by_key: dict[NodePublicKey, Node] = {}

    def node(self, number: int) -> Node:
        node = Node(self, number)
        self.nodes[node.addr.ip] = self.by_key[node.key] = node
        return node

    async def pair(self, *, direct: bool = True) -> tuple[Node, Node]:
        """Two started nodes that know each other, with a direct path or parked."""
        a, b = self.node(1), self.node(2)
        await self.join(a, b, direct=direct)
        return a, b

    async def join(self, a: Node, b: Node, *, direct: bool = True) -> None:
        """Start both and make them known to each other."""
        for node, other in ((a, b), (b, a)):
            await node.engine.start()
            await node.engine.apply(EngineDiff(node.private, replace=True, upsert=(other.as_peer(),)))
            if direct:
                node.engine.set_path(other.key, PeerPath(direct=other.addr))

    def wire(self, source: AddrPort, to: AddrPort, batch: Segments) -> None:
        self.sent.append((source, to, batch))
        if not self.lose(source, to, batch):
            self.flights.append(lambda: self._arrive(source, to, batch))

    def _arrive(self, source: AddrPort, to: AddrPort, batch: Segments) -> None:
        node = self.nodes.get(to.ip)
        for port in node.ports if node else ():
            if port.local.port == to.port and not port.local.is_v6 and not port.closed:
                port.deliver(source, batch)

    def inject_datagram(self, source: AddrPort, to: Node, datagram: bytes) -> None:
        self._arrive(source, to.addr, one(datagram))
        self.carry()

    def carry(self) -> None:
        """Deliver until nothing is in flight."""
        for _ in range(100_000):
            if not self.flights:
                return
            if self.shuffle:
                self.flights.rotate(self.randomness.below(len(self.flights)))
            self.flights.popleft()()
        raise AssertionError("the network never falls silent")

    def advance(self, seconds: float) -> None:
        """Let time pass; alarms run at their time."""
        self.carry()
        end = self.clock.now() + seconds
        while self.loop.next_at() <= end:
            self.clock.advance(max(0.0, self.loop.next_at() - self.clock.now()))
            self.loop.run_next()
            self.carry()
        self.clock.advance(max(0.0, end - self.clock.now()))
