"""`KernelEngine`: all seams, `Engine`, `Underlay`, `TsmpPort`, over the kernel's WireGuard device.

Data of a direct path never passes this process. The rest does: disco and STUN through sockets beside the WireGuard
port; packets of parked and relayed peers through loopback addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from appliance.engine.kernel.peers import MAX_RELAYS, KernelPeer, PeerTable, proxied
from appliance.engine.kernel.proxy import Proxy
from appliance.engine.kernel.split import PortSplit
from appliance.engine.kernel.watch import DeviceWatch
from appliance.engine.userspace.engine import Alarm, TimerLoop
from appliance.engine.userspace.sender import Sender
from appliance.ports.clock import Clock
from appliance.ports.engine import EngineDiff, EnginePeer, PeerStatistics
from appliance.ports.packets import UdpPort, one
from appliance.ports.tsmp import TsmpHandler
from appliance.ports.underlay import PeerPath, UnderlaySink
from appliance.ports.wireguard_device import CopyPort, DevicePeer, LoopbackPort, MeshPort, PeerSetting, WireGuardDevice
from appliance.proto.disco.demux import PacketKind, classify
from appliance.proto.geneve import HEADER_SIZE, parse_header
from appliance.proto.wireguard.timestamp import ZERO, encode_tai64n
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError, UnderlayError
from appliance.types.keys import NodePublicKey

_RECEIVE_LIMIT = 32


class KernelEngine:
    """`port` is the wished UDP port, 0 any. `mark`: of all that leaves for the network. `steer` applies nftables text.

    `steered`: whether the rules still stand; another program may have flushed them. `adopt`: a device that is there
    already keeps its peers and sessions until the first `apply`; else they go. `loop` None: the running event loop at
    `start`.
    """

    kind = "kernel"

    def __init__(
        self,
        device: WireGuardDevice,
        open_loopback: Callable[[], LoopbackPort],
        open_mesh: Callable[[], MeshPort],
        open_udp: Callable[[int], Sequence[UdpPort]],
        open_copies: Callable[[int], Sequence[CopyPort]],
        steer: Callable[[str], None],
        clock: Clock,
        *,
        port: int = 0,
        mark: int = 0,
        steered: Callable[[], bool] = lambda: True,
        adopt: bool = False,
        loop: TimerLoop | None = None,
    ) -> None:
        self._device = device
        self._open_loopback = open_loopback
        self._open_mesh = open_mesh
        self._split = PortSplit(open_udp, open_copies, steer, device.name)
        self._clock = clock
        self._port = port
        self._mark = mark
        self._steered = steered
        self._adopt = adopt
        self._loop = loop
        self._counters: Counter[str] = Counter()
        self._peers = PeerTable()
        self._geneve: dict[tuple[AddrPort, int], KernelPeer] = {}
        self._watch = DeviceWatch(self._peers)
        self._sender = Sender(lambda _: self._split.ports, self._udp_readable, self._counters)
        self._loopback: LoopbackPort | None = None
        self._mesh: MeshPort | None = None
        self._proxy: Proxy | None = None
        self._tsmp: TsmpHandler | None = None
        self._last_handshake = 0.0
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0
        self._closed = False
        self.adopted = False
        """Whether the device of a run before was taken over with its sessions."""

    @property
    def interface(self) -> str:
        return self._device.name

    @property
    def inner_port(self) -> int:
        """UDP port at which this host's firewall sees what is not WireGuard; 0: at that of WireGuard."""
        return self._split.inner_port

    @property
    def steering_refused(self) -> str:
        """Why nftables does not split the port, so that raw sockets do; empty while it does."""
        return self._split.refused

    @property
    def last_timestamp(self) -> bytes:
        """That of the last handshake seen; the kernel keeps the exact one. Zero before the first."""
        return encode_tai64n(int(self._last_handshake * 1e9)) if self._last_handshake else ZERO

    @property
    def greatest_timestamps(self) -> Mapping[NodePublicKey, bytes]:
        """The kernel keeps them too: none."""
        return {}

    # Engine

    async def start(self) -> None:
        """Make device, sockets and rules. Raises what the drivers raise; then nothing is left."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        found = self._device.open(self._port, self._mark)
        try:
            self._port = self._device.listen_port()
            self._open_sockets()
            await self._split.open(self._port)
            self._sender.open(0)
            self._take_over(found)
        except BaseException:
            await self.close()
            raise
        self._set_alarm(0.0)

    def _open_sockets(self) -> None:
        self._loopback = self._open_loopback()
        self._mesh = self._open_mesh()
        self._proxy = Proxy(
            self._loopback, self._peers, self._sender, self._counters, lambda: self._port, self._move_to_wish
        )
        self._loopback.set_reader(self._loopback_readable)
        self._mesh.set_reader(self._mesh_readable)

    def _take_over(self, found: bool) -> None:
        """What a run before left: peers with direct addresses go on undisturbed, the others are parked anew."""
        left = self._device.peers() if found else ()
        self.adopted = bool(left) and self._adopt
        if not self.adopted:
            self._set_peers([PeerSetting(peer.key, remove=True) for peer in left])
            return
        for peer in left:
            record = self._peers.add(peer.key)
            record.endpoint = peer.endpoint
            record.rx_bytes, record.tx_bytes = peer.rx_bytes, peer.tx_bytes
            record.last_handshake = peer.last_handshake
            record.roamed_at = None if proxied(peer.endpoint) else self._clock.now()
        self._set_peers([self._placed(record) for record in self._peers if record.roamed_at is None])

    async def apply(self, diff: EngineDiff) -> None:
        """One change, in as few netlink messages as it needs. Raises `UnderlayError`."""
        if diff.private_key is not None:
            try:
                self._device.set_private_key(diff.private_key)
            except OSError as error:
                raise _refused(error) from error
        gone = list(diff.remove)
        if diff.replace:
            kept = {peer.key for peer in diff.upsert}
            gone += [record.key for record in self._peers if record.key not in kept]
        changes = [PeerSetting(key, remove=True) for key in gone if self._forget(key)]
        changes += [self._upsert(peer) for peer in diff.upsert]
        for key in diff.reset:
            changes += self._reset(key)
        for key in diff.greet:
            changes += self._greet(key)
        self._set_peers(changes)

    def _forget(self, key: NodePublicKey) -> bool:
        record = self._peers.remove(key)
        if record is not None:
            for place in record.relays:
                if self._geneve.get(place) is record:
                    del self._geneve[place]
        return record is not None

    def _upsert(self, peer: EnginePeer) -> PeerSetting:
        record = self._peers.get(peer.key)
        fresh = record is None
        if record is None:
            record = self._peers.add(peer.key)
            record.endpoint = record.wished_endpoint(self._proxy_port)
        self._peers.assign(record, peer)
        return _setting(peer, record.endpoint if fresh else None)

    def _reset(self, key: NodePublicKey) -> list[PeerSetting]:
        """The device forgets a session only with its peer."""
        record = self._peers.get(key)
        if record is None or record.setting is None:
            return []
        record.reset_counters()
        record.endpoint, record.moved_at = record.wished_endpoint(self._proxy_port), self._clock.now()
        record.roamed_at = None
        return [PeerSetting(key, remove=True), _setting(record.setting, record.endpoint)]

    def _greet(self, key: NodePublicKey) -> list[PeerSetting]:
        """A persistent keepalive that begins makes the device speak, and so shake hands; then it ends."""
        record = self._peers.get(key)
        if record is None or record.setting is None or record.last_handshake or record.setting.keepalive_s:
            return []
        begin, end = (PeerSetting(key, keepalive_s=seconds, update_only=True) for seconds in (1, 0))
        return [begin, end]

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]:
        return {
            record.key: PeerStatistics(
                record.tx_bytes,
                record.rx_bytes,
                datetime.fromtimestamp(record.last_handshake, UTC) if record.last_handshake else None,
                None if proxied(record.endpoint) else record.endpoint,
            )
            for record in self._peers
        }

    def counters(self) -> Mapping[str, int]:
        return dict(self._counters)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._sender.close()
        for port in (self._loopback, self._mesh):
            if port is not None:
                port.set_reader(None)
                port.close()
        self._device.close()
        if not await self._split.close():
            self._counters["unsteer_failed"] += 1

    # TsmpPort

    def set_tsmp_handler(self, handler: TsmpHandler) -> None:
        self._tsmp = handler

    def send_packet(self, peer: NodePublicKey, packet: bytes) -> None:
        """The device finds the peer by the destination, as for the host's own packets."""
        if self._peers.get(peer) is not None and self._mesh is not None:
            try:
                self._mesh.send(packet)
            except OSError:
                self._counters["tsmp_send_failed"] += 1

    def _mesh_readable(self) -> None:
        assert self._mesh is not None
        for packet in self._mesh.receive(_RECEIVE_LIMIT):
            self._counters["tsmp_received"] += 1
            version = packet[0] >> 4 if packet else 0
            source = packet[12:16] if version == 4 else packet[8:24]
            record = self._peers.owner(source)
            if record is None:
                self._counters["wrong_inner_source"] += 1
            elif self._tsmp is not None:
                self._tsmp.tsmp_received(record.key, packet)

    # Underlay

    def set_sink(self, sink: UnderlaySink) -> None:
        self._sender.sink = sink

    def local_ports(self) -> Sequence[AddrPort]:
        return tuple(AddrPort(port.ip, self._port) for port in self._sender.local_ports())

    def send_datagrams(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        for to, datagram in batch:
            self._sender.send(to, one(datagram), None)

    def send_whole(self, to: AddrPort, datagram: bytes) -> None:
        self._sender.send_whole(to, datagram)

    def set_path(self, peer: NodePublicKey, path: PeerPath) -> None:
        record = self._peers.get(peer)
        if record is None or self._proxy is None:
            return
        old, record.path = record.path, path
        if path.direct is not None and path.vni is not None:
            self._expect((path.direct, path.vni), record)
        if path != old and not self._left_roaming(record, old):
            self._move_to_wish(record)
        self._proxy.flush(record)
        if path != old:
            self._set_alarm(self._watch.soon(self._clock.now()))

    def _expect(self, place: tuple[AddrPort, int], record: KernelPeer) -> None:
        """Take the peer's packets from this relay, and a while yet from those before."""
        if self._geneve.get(place) is not record:
            self._geneve[place] = record
            former = record.relays.popleft() if len(record.relays) == MAX_RELAYS else None
            record.relays.append(place)
            if former is not None and self._geneve.get(former) is record:
                del self._geneve[former]

    def _left_roaming(self, record: KernelPeer, old: PeerPath) -> bool:
        """A peer that came to us directly is answered directly until path finding has tried the address (6.6)."""
        if record.direct_only or record.roamed_at is None or old.relay or old.direct is not None:
            return False
        record.roamed_at = self._clock.now()
        return True

    def _move_to_wish(self, record: KernelPeer) -> None:
        """Set the device's endpoint to what the path says."""
        setting = self._placed(record)
        try:
            self._device.set_peers((setting,))
        except OSError as error:
            self._counters["set_path_failed"] += 1
            if self._sender.sink is not None and record.path.direct is not None:
                self._sender.sink.send_failed(record.key, record.path.direct, error)

    def _placed(self, record: KernelPeer) -> PeerSetting:
        record.endpoint, record.moved_at = record.wished_endpoint(self._proxy_port), self._clock.now()
        record.roamed_at = None
        return PeerSetting(record.key, endpoint=record.endpoint, update_only=True)

    def inject(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        record = self._peers.get(peer)
        if record is not None and self._proxy is not None:
            self._proxy.inject(record, packets)

    def rebind(self, port: int = 0) -> None:
        """The device's sockets are bound to no address: only a new port means work."""
        if self._closed or port in (0, self._port):
            return
        try:
            self._device.set_listen_port(port)
        except OSError:
            self._counters["rebind_refused"] += 1
            return
        former, self._port = self._port, port
        try:
            self._split.move(port)
        except ApplianceError:
            self._counters["rebind_refused"] += 1
            self._port = former
            with contextlib.suppress(OSError):  # it was free a moment ago
                self._device.set_listen_port(former)

    # Work

    @property
    def _proxy_port(self) -> int:
        return self._loopback.port if self._loopback is not None else 0

    def _set_peers(self, changes: Sequence[PeerSetting]) -> None:
        if changes:
            try:
                self._device.set_peers(changes)
            except OSError as error:
                raise _refused(error) from error

    def _loopback_readable(self) -> None:
        assert self._proxy is not None
        self._proxy.receive(self._clock.now())

    def _udp_readable(self, port: UdpPort) -> None:
        try:
            batches = port.receive(_RECEIVE_LIMIT)
        except OSError:
            self._counters["udp_read_failed"] += 1
            return
        strays: list[tuple[AddrPort, bytes]] = []
        for source, batch in batches:
            for packet in batch:
                kind = classify(packet)
                if kind is PacketKind.GENEVE_WIREGUARD:
                    self._unwrap(source, packet)
                elif kind in (PacketKind.UNKNOWN, PacketKind.WIREGUARD):
                    self._counters["unknown_datagram"] += 1
                else:
                    strays.append((source, bytes(packet)))
        if strays and self._sender.sink is not None:
            self._sender.sink.datagrams_received(strays)

    def _unwrap(self, source: AddrPort, packet: memoryview) -> None:
        """The peer is known by the relay's address and number: both ends agreed on them."""
        try:
            header = parse_header(packet)
        except DecodeError as error:
            self._counters[f"geneve_{error.reason}"] += 1
            return
        record = self._geneve.get((source, header.vni))
        if header.control or record is None or self._proxy is None:
            self._counters["geneve_control" if header.control else "geneve_unknown"] += 1
            return
        self._proxy.deliver(record, (bytes(packet[HEADER_SIZE:]),))

    # Reading the device

    def _set_alarm(self, delay: float) -> None:
        """A sooner one stays: paths that change all the time never put a reading off."""
        at = self._clock.now() + delay
        if self._loop is None or self._closed or (self._alarm is not None and self._alarm_at <= at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_later(delay, self._alarmed)

    def _alarmed(self) -> None:
        self._alarm = None
        self._watch.begin(self._clock.now())
        self._set_alarm(60.0)  # should an answer be lost
        self._device.read_peers(self._observed)
        if not self.steering_refused and not self._steered():
            self._counters["steered_again" if self._split.again(self._port) else "steering_failed"] += 1

    def _observed(self, seen: Sequence[DevicePeer]) -> None:
        if self._closed:
            return
        now = self._clock.now()
        found = self._watch.observe(seen, now)
        for record in found.stray:
            self._move_to_wish(record)
        if found.handshakes:
            self._last_handshake = max(peer.last_handshake for peer in seen)
        for key in found.handshakes:
            greeting = self._tsmp.first_packet(key) if self._tsmp is not None else None
            if greeting is not None:
                self.send_packet(key, greeting)
        self._set_alarm(self._watch.pause(now))
        if found.reports and self._sender.sink is not None:
            self._sender.sink.activity(found.reports)


def _setting(peer: EnginePeer, endpoint: AddrPort | None) -> PeerSetting:
    return PeerSetting(peer.key, endpoint, peer.allowed_ips, peer.preshared_key, peer.keepalive_s)


def _refused(error: OSError) -> UnderlayError:
    return UnderlayError(f"the kernel refused a change of its WireGuard peers: {error.strerror or error}")
