"""The native packet step on bytes: batches of received messages, and what the device hands over, against the pure form.

Where the module is not built there is no such target: the runner's list then lacks `native_open` and `native_cut`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from ipaddress import ip_network

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.bulk_inbound import BulkInbound
from appliance.engine.userspace.native_step import NativeStep
from appliance.engine.userspace.packet_step import PureStep
from appliance.engine.userspace.peers import ActivityLog, PeerRecord
from appliance.engine.userspace.segmentation import BadPacket, parts
from appliance.native import load
from appliance.ports.packets import Segments, one
from appliance.proto.geneve import PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, super_udp, tcp
from tests.fuzz.runner import Target
from tests.fuzz.udp_targets import SOURCE, Pair

_NATIVE = load()
_STEP = NativeStep(_NATIVE) if _NATIVE is not None else None
_V4 = ("100.64.0.1", "100.64.0.2")
_PEER = ip_network("100.64.0.1/32").network_address.packed
_GENEVE = encode_header(GeneveHeader(PROTOCOL_WIREGUARD, 7))


class _End:
    """The receiving end of a pair with the engine's way in: what a batch gives must be the peer's."""

    def __init__(self, step: NativeStep) -> None:
        self.pair = Pair(step)
        self.counters: Counter[str] = Counter()
        key = self.pair.ends[0].public
        record = PeerRecord(key)
        table: AllowedIPs[PeerRecord] = AllowedIPs()
        table.assign(record, [ip_network("100.64.0.1/32")])
        self.inbound = BulkInbound(
            self.pair.ends[1], {key: record}, table, ActivityLog(), self.counters, step=step, join=True
        )

    def seal(self, packet: bytes) -> bytes:
        keypair = self.pair.ends[0].sending_keypair(self.pair.ends[1].public, self.pair.now)
        assert keypair is not None
        return keypair.seal_one(packet, 0)


def run_open(data: bytes) -> None:
    """The first two bytes are segment size and prefix; the rest comes as it is, sealed by the peer, and repeated."""
    size, skip, rest = data[0] * 8 if data else 0, data[1] & 1 if len(data) > 1 else 0, data[2:]
    sealed = _GENEVE * skip + _end.seal(rest[:1400])
    for message in (rest, sealed, sealed + rest, sealed):
        batches = [(SOURCE, Segments(bytearray(message), size or len(message))), (SOURCE, one(bytearray(rest[:40])))]
        packets, _ = _end.inbound.receive(batches, _end.pair.now)
        assert all(bytes(packet.data[12:16]) == _PEER for packet in packets), "not the peer's address"
        assert sum(len(packet.data) for packet in packets) <= len(message)
    _end.pair.ends[1].datagrams_to_send(_end.pair.now)
    _end.inbound.take_for_mesh()


def run_cut(data: bytes) -> None:
    """The first six bytes are the fields of virtio_net_hdr; both forms must agree."""
    assert _STEP is not None
    head = data[:6].ljust(6, b"\0")
    packet = TunPacket(data[6:], head[0], int.from_bytes(head[1:3], "big"), 0, int.from_bytes(head[3:5], "big"))
    results: list[list[bytes] | None] = []
    for step in (PureStep(), _STEP):
        results.append(None)
        with suppress(BadPacket):
            results[-1] = parts(*step.cut(packet, head[5] * 8))
    assert results[0] == results[1], "the forms of the packet step disagree"


def _device(packet: TunPacket) -> bytes:
    fields = bytes((packet.gso_type,)) + packet.gso_size.to_bytes(2, "big") + packet.csum_start.to_bytes(2, "big")
    return fields + b"\xa0" + bytes(packet.data)


_WATCHED = ("appliance/engine/userspace", "appliance/native")
TARGETS: tuple[Target, ...] = ()
if _STEP is not None:
    _end = _End(_STEP)
    TARGETS = (
        Target(
            "native_open",
            run_open,
            [b"\0\0" + tcp(*_V4, b"x" * 99), b"\x08\x01" + bytes(200), b"\x10\x01" + tcp(*_V4, b"y")],
            _WATCHED,
        ),
        Target(
            "native_cut",
            run_cut,
            [_device(super_tcp(*_V4, bytes(400), 100)), _device(super_udp("fd7a::1", "fd7a::2", bytes(400), 100))],
            _WATCHED,
        ),
    )
