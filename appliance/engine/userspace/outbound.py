"""From the TUN device to the network: peer by inner destination, super-packets cut and sealed in one go, then sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.inner import destination
from appliance.engine.userspace.packet_step import PacketStep
from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.engine.userspace.segmentation import BadPacket, parts, with_checksum
from appliance.engine.userspace.sender import Sender, covers
from appliance.ports.packets import one
from appliance.ports.underlay import PeerPath
from appliance.proto.wireguard import Outgoing, Tunnel
from appliance.types.keys import NodePublicKey
from appliance.types.packets import TunPacket

_WANTED_INTERVAL_S = 1.0
_HELD_S = 5.0


class Outbound:
    """`pump` sends what the tunnel made by itself: handshakes, keepalives, staged packets."""

    def __init__(
        self,
        tunnel: Tunnel,
        peers: dict[NodePublicKey, PeerRecord],
        table: AllowedIPs[PeerRecord],
        sender: Sender,
        activity: ActivityLog,
        counters: Counter[str],
        mtu: int,
        step: PacketStep,
    ) -> None:
        self._tunnel = tunnel
        self._peers = peers
        self._table = table
        self._sender = sender
        self._activity = activity
        self._counters = counters
        self._mtu = mtu
        self._step = step

    def transmit(self, packets: Sequence[TunPacket], now: float) -> None:
        """Packets that the host sends into the tunnel, in order per peer."""
        groups: dict[PeerRecord, list[TunPacket]] = {}
        for packet in packets:
            address = destination(packet.data)
            if address is None:
                self._counters["not_ip"] += 1
                continue
            record = self._table.lookup(address)
            if record is None:
                self._counters["no_peer"] += 1
                continue
            groups.setdefault(record, []).append(packet)
        for record, group in groups.items():
            self.transmit_to(record, group, now)

    def transmit_to(self, record: PeerRecord, group: Sequence[TunPacket], now: float) -> None:
        """Packets for one peer, whatever their destination."""
        keypair = None if record.parked else self._tunnel.sending_keypair(record.key, now)
        sealed = None if keypair is None else self._step.seal(keypair, group, self._mtu)
        if keypair is None or sealed is None:
            # Without a key pair, or with one that is used up: staging takes what is left of it, then asks for another.
            if keypair is not None:
                self._counters["message_limit"] += 1
            self._stage(record, group, now)
            return
        if sealed.bad:
            self._counters["bad_super_packet"] += sealed.bad
        if sealed.batches:
            self._tunnel.data_sealed(keypair, now)
            for batch in sealed.batches:
                self._sender.send_by_path(record, batch)
            self._activity.note(record, now, tx=sealed.payload_bytes)

    def set_path(self, record: PeerRecord, path: PeerPath, now: float) -> None:
        """Use another path; what waited for one goes now."""
        was_parked = record.parked
        record.path = path
        if record.parked or not was_parked:
            return
        held, record.held = record.held, None
        if held is not None and now - held[1] < _HELD_S:
            self._sender.send_by_path(record, one(held[0].data))
        self._tunnel.flush(record.key, now)

    def pump(self, now: float) -> None:
        """Send the tunnel's own messages."""
        for out in self._tunnel.datagrams_to_send(now):
            record = self._peers.get(out.peer) if out.peer is not None else None
            if out.to is not None and (record is None or not covers(record, out.to)):
                self._sender.send_to_source(out.to, out.data, out.peer)
                if record is not None:
                    record.tx_bytes += len(out.data)
            if record is not None:
                self._send_message(record, out, now)

    def _send_message(self, record: PeerRecord, out: Outgoing, now: float) -> None:
        if not record.parked:
            self._sender.send_by_path(record, one(out.data))
            if out.payload_bytes:
                self._activity.note(record, now, tx=out.payload_bytes)
        elif out.to is None:
            if len(out.data) > 32:
                record.held = (out, now)
            self._want(record, now)

    def _want(self, record: PeerRecord, now: float) -> None:
        if self._sender.sink is not None and now - record.wanted_at >= _WANTED_INTERVAL_S:
            record.wanted_at = now
            self._sender.sink.peer_wanted(record.key)

    def _stage(self, record: PeerRecord, group: Sequence[TunPacket], now: float) -> None:
        for packet in group:
            try:
                whole = parts(*self._step.cut(packet, 0)) if packet.gso_size else [self._whole(packet)]
            except BadPacket:
                self._counters["bad_super_packet"] += 1
                continue
            for part in whole:
                self._tunnel.stage(record.key, bytes(part))
        if record.parked:
            self._want(record, now)
        else:
            self._tunnel.flush(record.key, now)

    def _whole(self, packet: TunPacket) -> bytes | memoryview:
        return with_checksum(packet) if packet.needs_checksum else memoryview(packet.data)
