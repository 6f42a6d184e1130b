"""From the network to the TUN device: sort datagrams, open WireGuard, check inner sources, join TCP, hand over."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.inner import PROTOCOL_AT, true_length
from appliance.engine.userspace.inner import source as inner_source
from appliance.engine.userspace.packet_step import PacketStep
from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.ports.packets import Segments
from appliance.proto.disco.demux import PacketKind, classify
from appliance.proto.geneve import HEADER_SIZE, parse_header
from appliance.proto.tsmp import PROTOCOL as TSMP
from appliance.proto.wireguard import RelaySource, Source, Tunnel
from appliance.proto.wireguard.source import GeneveSource
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePublicKey
from appliance.types.packets import Buffer, TunPacket

_HEAD = struct.Struct("<I")
_TRANSPORT = 4
Stray = tuple[AddrPort, bytes]


def writable(buffer: Buffer) -> memoryview:
    """The buffer itself when packets can be opened in it, else a copy."""
    view = memoryview(buffer)
    return memoryview(bytearray(view)) if view.readonly else view


class Inbound:
    """Sorting follows magicsock-disco spec 1.5: what is not WireGuard is given back as strays, the unknown dropped."""

    def __init__(
        self,
        tunnel: Tunnel,
        peers: dict[NodePublicKey, PeerRecord],
        table: AllowedIPs[PeerRecord],
        activity: ActivityLog,
        counters: Counter[str],
        *,
        step: PacketStep,
        join: bool,
    ) -> None:
        self._tunnel = tunnel
        self._peers = peers
        self._table = table
        self._activity = activity
        self._counters = counters
        self._step = step
        self._join = join
        self._for_mesh: list[tuple[NodePublicKey, bytes]] = []

    def take_for_mesh(self) -> list[tuple[NodePublicKey, bytes]]:
        """TSMP packets since the last call, each with its peer."""
        taken = self._for_mesh
        if taken:
            self._for_mesh = []
        return taken

    def receive(self, batches: Iterable[tuple[AddrPort, Segments]], now: float) -> tuple[list[TunPacket], list[Stray]]:
        """Packets for the host, and datagrams for path finding."""
        packets: list[memoryview] = []
        strays: list[Stray] = []
        for source, batch in batches:
            by_source: dict[Source, list[memoryview]] = {}
            self._sort(source, batch, by_source, strays)
            for origin, messages in by_source.items():
                self._open(messages, origin, packets, now)
        return self._joined(packets), strays

    def receive_relayed(self, peer: NodePublicKey, messages: Iterable[bytes], now: float) -> list[TunPacket]:
        """WireGuard messages that a relay server delivered in the name of `peer`."""
        packets: list[memoryview] = []
        self._open([memoryview(bytearray(message)) for message in messages], RelaySource(peer), packets, now)
        return self._joined(packets)

    def _joined(self, packets: Sequence[memoryview]) -> list[TunPacket]:
        return self._step.join(packets) if self._join else [TunPacket(packet) for packet in packets]

    def _sort(
        self, source: AddrPort, batch: Segments, by_source: dict[Source, list[memoryview]], strays: list[Stray]
    ) -> None:
        total, size = len(batch.buffer), batch.size
        if not total or size <= 0:
            return
        view = writable(batch.buffer)
        naked: list[memoryview] = []
        for start in range(0, total, size):
            packet = view[start : start + size]
            if len(packet) >= 4 and _HEAD.unpack_from(packet)[0] == _TRANSPORT:
                naked.append(packet)
                continue
            kind = classify(packet)
            if kind is PacketKind.WIREGUARD:
                naked.append(packet)
            elif kind is PacketKind.GENEVE_WIREGUARD:
                self._unwrap(source, packet, by_source)
            elif kind is PacketKind.UNKNOWN:
                self._counters["unknown_datagram"] += 1
            else:
                strays.append((source, bytes(packet)))
        if naked:
            by_source[source] = naked

    def _unwrap(self, source: AddrPort, packet: memoryview, by_source: dict[Source, list[memoryview]]) -> None:
        try:
            header = parse_header(packet)
        except DecodeError as error:
            self._counters[f"geneve_{error.reason}"] += 1
            return
        if header.control:
            self._counters["geneve_control"] += 1
            return
        by_source.setdefault(GeneveSource(source, header.vni), []).append(packet[HEADER_SIZE:])

    def _open(self, messages: Sequence[memoryview], origin: Source, packets: list[memoryview], now: float) -> None:
        received: dict[PeerRecord, int] = {}
        for key, padded in self._tunnel.receive_batch(messages, origin, now):
            record = self._peers.get(key)
            packet = None if record is None else self._inner(record, padded)
            if record is not None and packet is not None:
                packets.append(packet)
                received[record] = received.get(record, 0) + len(packet)
        self._note(origin, received, now)

    def _inner(self, record: PeerRecord, padded: memoryview) -> memoryview | None:
        """The packet without padding when its source belongs to the peer (cryptokey routing) and it is for the host."""
        address = inner_source(padded)
        length = None if address is None else true_length(padded)
        if address is None or length is None:
            self._counters["bad_inner_packet"] += 1
            return None
        if self._table.lookup(address) is not record:
            self._counters["wrong_inner_source"] += 1
            return None
        if padded[PROTOCOL_AT[padded[0] >> 4]] == TSMP:
            self._for_mesh.append((record.key, bytes(padded[:length])))
            return None
        return padded[:length]

    def _note(self, origin: Source, received: dict[PeerRecord, int], now: float) -> None:
        by_udp = not isinstance(origin, RelaySource)
        for key, (_, size) in self._tunnel.heard().items():
            record = self._peers.get(key)
            if record is None:
                continue
            record.rx_bytes += size
            if isinstance(origin, AddrPort):
                record.source = origin
            payload = received.get(record, 0)
            if by_udp or payload:
                self._activity.note(record, now, rx=payload, direct=by_udp)
