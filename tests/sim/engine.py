"""A data plane without encryption that keeps the promises of `Underlay`: parked queue, mirroring, activity reports."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.ports.underlay import PARKED, PeerActivity, PeerPath, UnderlaySink
from appliance.proto.disco import PacketKind, classify
from appliance.proto.geneve import HEADER_SIZE, PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey
from tests.sim.network import Host
from tests.sim.world import World

_HEAD = b"\x04\x00\x00\x00"
REPORT_INTERVAL = 1.0


@dataclass
class _Traffic:
    tx: int = 0
    rx: int = 0
    source: AddrPort | None = None
    rx_direct: bool = False
    reported_at: float = float("-inf")
    planned: bool = False


@dataclass
class SimEngine:
    """Packets are `04 00 00 00`, the sender's node key, a payload. `delivered(peer, payload)` is the host above."""

    world: World
    host: Host
    key: NodePublicKey
    delivered: Callable[[NodePublicKey, bytes], None]
    sink: UnderlaySink | None = None
    paths: dict[NodePublicKey, PeerPath] = field(default_factory=dict)
    waiting: dict[NodePublicKey, deque[bytes]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=128)))
    _traffic: dict[NodePublicKey, _Traffic] = field(default_factory=lambda: defaultdict(_Traffic))
    _seen: dict[NodePublicKey, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.host.receive = self._receive

    def set_sink(self, sink: UnderlaySink) -> None:
        self.sink = sink

    def local_ports(self) -> Sequence[AddrPort]:
        v4 = AddrPort("0.0.0.0", self.host.port)
        return (v4,) if self.host.ip6 is None else (v4, AddrPort("::", self.host.port))

    def send_datagrams(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        for to, data in batch:
            self._transmit(None, to, data)

    def send_whole(self, to: AddrPort, datagram: bytes) -> None:
        self._transmit(None, to, datagram)

    def _transmit(self, peer: NodePublicKey | None, to: AddrPort, data: bytes) -> None:
        try:
            self.host.send(to, data)
        except OSError as error:
            assert self.sink is not None
            self.sink.send_failed(peer, to, error)

    def set_path(self, peer: NodePublicKey, path: PeerPath) -> None:
        self.paths[peer] = path
        if path != PARKED:
            while self.waiting[peer]:
                self._send_on(peer, path, self.waiting[peer].popleft())

    def inject(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self._take(packet, None)

    def rebind(self, port: int = 0) -> None:
        """The simulated port is always there."""

    # The host above

    def send(self, peer: NodePublicKey, payload: bytes) -> None:
        self._traffic[peer].tx += len(payload)
        path = self.paths.get(peer, PARKED)
        packet = _HEAD + self.key.raw + payload
        if path == PARKED:
            self.waiting[peer].append(packet)
            assert self.sink is not None
            self.sink.peer_wanted(peer)
        else:
            self._send_on(peer, path, packet)
        self._plan_report(peer)

    def _send_on(self, peer: NodePublicKey, path: PeerPath, packet: bytes) -> None:
        assert self.sink is not None
        if path.direct is not None:
            head = b"" if path.vni is None else encode_header(GeneveHeader(PROTOCOL_WIREGUARD, path.vni))
            self._transmit(peer, path.direct, head + packet)
        if path.relay:
            self.sink.relay_packets(peer, [packet])

    def _receive(self, source: AddrPort, data: bytes) -> None:
        kind = classify(data)
        if kind == PacketKind.WIREGUARD:
            self._take(data, source)
        elif kind == PacketKind.GENEVE_WIREGUARD:
            self._take(data[HEADER_SIZE:], None, by_peer_relay=True)
        elif self.sink is not None:
            self.sink.datagrams_received([(source, data)])

    def _take(self, packet: bytes, source: AddrPort | None, *, by_peer_relay: bool = False) -> None:
        peer, payload = NodePublicKey(packet[4:36]), packet[36:]
        if payload in self._seen[peer]:
            return  # the replay window
        self._seen[peer].add(payload)
        traffic = self._traffic[peer]
        traffic.rx += len(payload)
        if source is not None:
            traffic.source = source
        if source is not None or by_peer_relay:
            traffic.rx_direct = True
        self.delivered(peer, payload)
        self._plan_report(peer)

    def _plan_report(self, peer: NodePublicKey) -> None:
        traffic = self._traffic[peer]
        if not traffic.planned:
            traffic.planned = True
            self.world.at(traffic.reported_at + REPORT_INTERVAL, lambda: self._report(peer))

    def _report(self, peer: NodePublicKey) -> None:
        traffic = self._traffic[peer]
        report = PeerActivity(peer, traffic.tx, traffic.rx, traffic.source, traffic.rx_direct)
        self._traffic[peer] = _Traffic(source=traffic.source, reported_at=self.world.now)
        assert self.sink is not None
        self.sink.activity([report])
