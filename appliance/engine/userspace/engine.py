"""`UserspaceEngine`: all seams, `Engine`, `Underlay`, `TsmpPort`, over a TUN device and UDP ports, in one event loop.

The loop is used at this edge only: readers of the ports and one alarm. Everything below takes `now`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from appliance.crypto.x25519 import clamp
from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.bulk_inbound import BulkInbound
from appliance.engine.userspace.heap import keep_freed_memory
from appliance.engine.userspace.inbound import Inbound
from appliance.engine.userspace.native_step import NativeStep
from appliance.engine.userspace.outbound import Outbound
from appliance.engine.userspace.packet_step import PacketStep, PureStep
from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.engine.userspace.sender import Sender
from appliance.ports.clock import Clock
from appliance.ports.engine import EngineDiff, EnginePeer, PeerStatistics
from appliance.ports.packets import TunPort, UdpPort, one
from appliance.ports.randomness import Randomness
from appliance.ports.tsmp import TsmpHandler
from appliance.ports.underlay import PeerPath, UnderlaySink
from appliance.proto.wireguard import HandshakeCompleted, Settings, Tunnel, TunnelPeer
from appliance.proto.wireguard.timestamp import ZERO
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.packets import TunPacket

_RECEIVE_LIMIT = 32
_REBIND_RETRY_S = 1.0


class Alarm(Protocol):
    def cancel(self) -> None: ...


class TimerLoop(Protocol):
    """The part of an event loop that the engine uses; a test gives one on a virtual clock."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Alarm: ...


class UserspaceEngine:
    """`port` is the wished UDP port, 0 any. `loop` None: the running event loop at `start`.

    `last_timestamp` and `greatest_timestamps` are these properties' values of the run before, so that handshakes never
    go back in time, ours nor the peers'. `step` None: pure Python.
    """

    kind = "userspace"

    def __init__(
        self,
        tun: TunPort,
        open_udp: Callable[[int], Sequence[UdpPort]],
        clock: Clock,
        randomness: Randomness,
        *,
        port: int = 0,
        settings: Settings | None = None,
        loop: TimerLoop | None = None,
        last_timestamp: bytes = ZERO,
        greatest_timestamps: Mapping[NodePublicKey, bytes] | None = None,
        step: PacketStep | None = None,
    ) -> None:
        self._tun = tun
        self._clock = clock
        self._loop = loop
        self._port = port
        self._counters: Counter[str] = Counter()
        self._peers: dict[NodePublicKey, PeerRecord] = {}
        self._table: AllowedIPs[PeerRecord] = AllowedIPs()
        self._activity = ActivityLog()
        step = step or PureStep()
        self.form = step.form
        # Until the first `apply` gives the key, an identity that nobody knows.
        private = NodePrivateKey(clamp(randomness.bytes(32)))
        self._tunnel = Tunnel(
            private,
            randomness,
            self._wall_ns,
            settings=settings,
            mtu=tun.mtu,
            last_timestamp=last_timestamp,
            greatest=greatest_timestamps,
            make_cipher=step.make_cipher,
        )
        self._sender = Sender(open_udp, self._udp_readable, self._counters)
        self._outbound = Outbound(
            self._tunnel, self._peers, self._table, self._sender, self._activity, self._counters, tun.mtu, step
        )
        self._inbound = self._make_inbound(step, join=tun.offloading)
        self._tsmp: TsmpHandler | None = None
        self._alarm: Alarm | None = None
        self._alarm_at = float("inf")
        self._rebind_at: float | None = None
        self._closed = False

    def _make_inbound(self, step: PacketStep, *, join: bool) -> Inbound:
        parts = self._tunnel, self._peers, self._table, self._activity, self._counters
        if isinstance(step, NativeStep):
            return BulkInbound(*parts, step=step, join=join)
        return Inbound(*parts, step=step, join=join)

    def _wall_ns(self) -> int:
        return int(self._clock.wall_now().timestamp() * 1e9)

    @property
    def interface(self) -> str:
        return self._tun.name

    @property
    def inner_port(self) -> int:
        """Everything comes to the WireGuard port itself: 0."""
        return 0

    @property
    def last_timestamp(self) -> bytes:
        """Greatest handshake timestamp sent; to be stored."""
        return self._tunnel.last_timestamp

    @property
    def greatest_timestamps(self) -> Mapping[NodePublicKey, bytes]:
        """Greatest handshake timestamp received, by peer; live; to be stored."""
        return self._tunnel.greatest_timestamps

    # Engine

    async def start(self) -> None:
        """Bind the port and begin to read. Raises what the drivers raise."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        keep_freed_memory()
        self._sender.open(self._port)
        self._tun.set_reader(self._tun_readable)
        self._finish(self._clock.now())

    async def apply(self, diff: EngineDiff) -> None:
        """One atomic change: nothing else runs in between."""
        now = self._clock.now()
        if diff.private_key is not None:
            self._tunnel.set_private_key(diff.private_key, now)
        if diff.replace:
            kept = {peer.key for peer in diff.upsert}
            for key in [key for key in self._peers if key not in kept]:
                self._remove(key)
        for key in diff.remove:
            self._remove(key)
        for peer in diff.upsert:
            self._upsert(peer, now)
        for key in diff.reset:
            self._tunnel.reset(key, now)
        for key in diff.greet:
            self._tunnel.greet(key, now)
        self._finish(now)

    def _upsert(self, peer: EnginePeer, now: float) -> None:
        record = self._peers.get(peer.key)
        if record is None:
            record = self._peers[peer.key] = PeerRecord(peer.key)
        self._table.assign(record, peer.allowed_ips)
        self._tunnel.configure(TunnelPeer(peer.key, peer.preshared_key, peer.keepalive_s), now)

    def _remove(self, key: NodePublicKey) -> None:
        record = self._peers.pop(key, None)
        if record is not None:
            self._table.remove(record)
            self._activity.forget(record)
            self._tunnel.remove(key)

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]:
        return {
            key: PeerStatistics(record.tx_bytes, record.rx_bytes, record.last_handshake, record.path.direct)
            for key, record in self._peers.items()
        }

    def counters(self) -> Mapping[str, int]:
        return self._counters + self._tunnel.counters

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._tun.set_reader(None)
        self._sender.close()
        self._tun.close()

    # TsmpPort

    def set_tsmp_handler(self, handler: TsmpHandler) -> None:
        self._tsmp = handler
        self._tunnel.set_first_packet(handler.first_packet)

    def send_packet(self, peer: NodePublicKey, packet: bytes) -> None:
        record = self._peers.get(peer)
        if record is not None:
            now = self._clock.now()
            self._outbound.transmit_to(record, (TunPacket(packet),), now)
            self._finish(now)

    # Underlay

    def set_sink(self, sink: UnderlaySink) -> None:
        self._sender.sink = sink

    def local_ports(self) -> Sequence[AddrPort]:
        return self._sender.local_ports()

    def send_datagrams(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        for to, datagram in batch:
            self._sender.send(to, one(datagram), None)

    def send_whole(self, to: AddrPort, datagram: bytes) -> None:
        self._sender.send_whole(to, datagram)

    def set_path(self, peer: NodePublicKey, path: PeerPath) -> None:
        record = self._peers.get(peer)
        if record is not None:
            now = self._clock.now()
            self._outbound.set_path(record, path, now)
            self._finish(now)

    def inject(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        now = self._clock.now()
        self._to_host(self._inbound.receive_relayed(peer, packets, now))
        self._to_mesh()
        self._finish(now)

    def rebind(self, port: int = 0) -> None:
        if self._closed:
            return
        self._port = port or self._port
        now = self._clock.now()
        self._rebind_at = None if self._sender.reopen(port) else now + _REBIND_RETRY_S
        self._finish(now)

    # Work

    def _tun_readable(self) -> None:
        now = self._clock.now()
        try:
            packets = self._tun.receive(_RECEIVE_LIMIT)
        except OSError:
            # The device is gone: reading on would spin.
            self._counters["tun_read_failed"] += 1
            self._tun.set_reader(None)
            return
        self._outbound.transmit(packets, now)
        self._finish(now)

    def _udp_readable(self, port: UdpPort) -> None:
        now = self._clock.now()
        try:
            batches = port.receive(_RECEIVE_LIMIT)
        except OSError:
            self._counters["udp_read_failed"] += 1
            return
        packets, strays = self._inbound.receive(batches, now)
        self._to_host(packets)
        self._to_mesh()
        if strays and self._sender.sink is not None:
            self._sender.sink.datagrams_received(strays)
        self._finish(now)

    def _to_host(self, packets: Sequence[TunPacket]) -> None:
        if not packets or self._closed:
            return
        try:
            self._tun.send(packets)
        except OSError:
            self._counters["tun_write_failed"] += 1

    def _to_mesh(self) -> None:
        for peer, packet in self._inbound.take_for_mesh():
            self._counters["tsmp_received"] += 1
            if self._tsmp is not None:
                self._tsmp.tsmp_received(peer, packet)

    def _finish(self, now: float) -> None:
        """After any work: send what the tunnel made, take its events, report activity, set the alarm."""
        self._outbound.pump(now)
        while (event := self._tunnel.next_event()) is not None:
            record = self._peers.get(event.peer)
            if record is not None and isinstance(event, HandshakeCompleted):
                record.last_handshake = self._clock.wall_now()
        reports = self._activity.take(now)
        if reports and self._sender.sink is not None:
            self._sender.sink.activity(reports)
        self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        due = self._next_timer()
        if due is None or self._loop is None or self._closed or (self._alarm is not None and due >= self._alarm_at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self._loop.call_later(max(0.0, due - now), self._alarmed)

    def _next_timer(self) -> float | None:
        due = [self._tunnel.next_timer(), self._activity.next_timer(), self._rebind_at]
        return min((at for at in due if at is not None), default=None)

    def _alarmed(self) -> None:
        self._alarm = None
        now = self._clock.now()
        self._tunnel.handle_timer(now)
        if self._rebind_at is not None and now >= self._rebind_at:
            self.rebind(self._port)
        self._finish(now)
