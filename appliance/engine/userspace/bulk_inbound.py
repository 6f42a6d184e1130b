"""The way in with the native packet step: runs of transport messages are opened, checked and joined in one call.

What is not a transport message of a known key pair goes the general way, datagram by datagram, in its place.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.inbound import Inbound, Stray, writable
from appliance.engine.userspace.inner import PROTOCOL_AT
from appliance.engine.userspace.inner import source as inner_source
from appliance.engine.userspace.native_step import NativeStep, tun_packet
from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.native.loader import Received
from appliance.ports.packets import Segments
from appliance.proto.geneve import HEADER_SIZE, PROTOCOL_WIREGUARD, parse_header
from appliance.proto.tsmp import PROTOCOL as TSMP
from appliance.proto.wireguard import GeneveSource, Source, Tunnel
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.messages import TRANSPORT, TRANSPORT_OVERHEAD
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePublicKey
from appliance.types.packets import TunPacket

_HEAD = struct.Struct("<II")
_GROUP_BYTES = 4 * 65535
Group = list[tuple[memoryview, int]]


def groups(batches: Iterable[tuple[AddrPort, Segments]]) -> Iterator[tuple[AddrPort, Group]]:
    """Neighbouring batches of one source that together are no larger than one datagram can be."""
    source: AddrPort | None = None
    group: Group = []
    room = 0
    for origin, batch in batches:
        size = len(batch.buffer)
        if not size or batch.size <= 0:
            continue
        if source is not None and (origin != source or size > room):
            yield source, group
            source = None
        if source is None:
            source, group, room = origin, [], _GROUP_BYTES
        group.append((writable(batch.buffer), batch.size))
        room -= size
    if source is not None:
        yield source, group


class BulkInbound(Inbound):
    def __init__(
        self,
        tunnel: Tunnel,
        peers: dict[NodePublicKey, PeerRecord],
        table: AllowedIPs[PeerRecord],
        activity: ActivityLog,
        counters: Counter[str],
        *,
        step: NativeStep,
        join: bool,
    ) -> None:
        super().__init__(tunnel, peers, table, activity, counters, step=step, join=join)
        self._native = step

    def receive(self, batches: Iterable[tuple[AddrPort, Segments]], now: float) -> tuple[list[TunPacket], list[Stray]]:
        packets: list[TunPacket] = []
        strays: list[Stray] = []
        for source, group in groups(batches):
            self._receive_group(source, group, packets, strays, now)
        return packets, strays

    def _receive_group(
        self, source: AddrPort, group: Group, packets: list[TunPacket], strays: list[Stray], now: float
    ) -> None:
        offset = 0
        while group:
            view, size = group[0]
            if offset >= len(view):
                group, offset = group[1:], 0
                continue
            datagram = view[offset : offset + size]
            skip = self._skip(datagram)
            if skip is None:
                packets += self._receive_one(source, datagram, strays, now)
            elif (keypair := self._tunnel.opening_keypair(_HEAD.unpack_from(datagram, skip)[1], now)) is not None:
                origin = GeneveSource(source, parse_header(datagram).vni) if skip else source
                result = self._native.open_run(keypair, group, offset, skip, join=self._join)
                self._take(keypair, origin, result, packets, now)
                number, offset = result[2]
                group = group[number:]
                continue
            offset += size

    def _skip(self, datagram: memoryview) -> int | None:
        """Bytes before the transport message; None when this is none."""
        size = len(datagram)
        if size >= TRANSPORT_OVERHEAD and _HEAD.unpack_from(datagram)[0] == TRANSPORT:
            return 0
        if size < HEADER_SIZE + TRANSPORT_OVERHEAD or _HEAD.unpack_from(datagram, HEADER_SIZE)[0] != TRANSPORT:
            return None
        try:
            header = parse_header(datagram)
        except DecodeError:
            return None
        return HEADER_SIZE if header.protocol == PROTOCOL_WIREGUARD and not header.control else None

    def _receive_one(self, source: AddrPort, datagram: memoryview, strays: list[Stray], now: float) -> list[TunPacket]:
        packets, others = super().receive(((source, Segments(datagram, len(datagram))),), now)
        strays += others
        return packets

    def _take(self, keypair: Keypair, origin: Source, result: Received, packets: list[TunPacket], now: float) -> None:
        """What a run gave: each item holds packets of one inner source, which must belong to the peer."""
        arena, items, _, (size, data), (replays, forged, bad_inner) = result
        self._tunnel.data_opened(keypair, origin, size, now, data=data, replays=replays, forged=forged)
        if bad_inner:
            self._counters["bad_inner_packet"] += bad_inner
        record = self._peers.get(keypair.session.remote.public)
        payload, view = 0, memoryview(arena)
        for item in items if record is not None else ():
            packet = tun_packet(view, item)
            address = inner_source(packet.data)
            if record is None or address is None or self._table.lookup(address) is not record:
                self._counters["wrong_inner_source"] += item[3]
            elif packet.data[PROTOCOL_AT[packet.data[0] >> 4]] == TSMP:
                self._for_mesh.append((record.key, bytes(packet.data)))
            else:
                payload += item[2]
                packets.append(packet)
        self._note(origin, {record: payload} if record is not None else {}, now)
