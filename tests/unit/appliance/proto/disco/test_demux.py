"""Classification of datagrams (magicsock-disco spec 1.5)."""

from __future__ import annotations

import pytest

from appliance.proto.disco import MAGIC, PacketKind, classify
from appliance.proto.geneve import PROTOCOL_DISCO, PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.proto.stun import encode_request, encode_response
from appliance.types.addresses import AddrPort

TX = bytes(12)
GENEVE_DISCO = encode_header(GeneveHeader(PROTOCOL_DISCO, 456))
GENEVE_WIREGUARD = encode_header(GeneveHeader(PROTOCOL_WIREGUARD, 456))
CASES = [
    (encode_request(TX), PacketKind.STUN),
    (encode_response(TX, AddrPort("192.0.2.1", 1)), PacketKind.STUN),
    (MAGIC + bytes(32), PacketKind.DISCO),
    (MAGIC + bytes(31), PacketKind.UNKNOWN),
    (GENEVE_DISCO + MAGIC + bytes(32), PacketKind.GENEVE_DISCO),
    (GENEVE_DISCO + MAGIC + bytes(31), PacketKind.UNKNOWN),
    (GENEVE_DISCO + bytes(64), PacketKind.UNKNOWN),
    (GENEVE_WIREGUARD + b"\x04\x00\x00\x00", PacketKind.GENEVE_WIREGUARD),
    (GENEVE_WIREGUARD, PacketKind.GENEVE_WIREGUARD),
    (b"\x01\x00\x00\x00" + bytes(144), PacketKind.WIREGUARD),
    (b"\x04\x00\x00\x00\xff\x12\xa4\x42" + bytes(24), PacketKind.WIREGUARD),
    (b"\x05\x00\x00\x00" + bytes(144), PacketKind.UNKNOWN),
    (b"\x04\x00\x00\x01" + bytes(144), PacketKind.UNKNOWN),
    (b"\x00\x00\x00\x00" + bytes(144), PacketKind.UNKNOWN),
    (b"", PacketKind.UNKNOWN),
    (b"\xff", PacketKind.UNKNOWN),
]


@pytest.mark.parametrize(("packet", "kind"), CASES)
def test_ok__kind(packet: bytes, kind: PacketKind) -> None:
    assert classify(packet) is kind
    assert classify(memoryview(packet)) is kind
    assert classify(bytearray(packet)) is kind
