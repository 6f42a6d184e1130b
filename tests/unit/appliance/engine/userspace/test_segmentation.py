import struct

import pytest

from appliance.engine.userspace.packet_step import PacketStep
from appliance.engine.userspace.segmentation import BadPacket, parts, runs, slots_of_run, with_checksum
from appliance.types.packets import TunPacket
from tests.contract.packets import reference_sum, super_tcp, super_udp, udp, valid

V4 = ("100.64.0.1", "100.64.0.2")
V6 = ("fd7a::1", "fd7a::2")


def cut(step: PacketStep, packet: TunPacket) -> list[bytes]:
    return parts(*step.cut(packet, 0))


PAYLOAD = bytes(range(256)) * 17 + b"odd"


@pytest.mark.parametrize("pair", [V4, V6], ids=["v4", "v6"])
def test_ok__tcp_segments(step: PacketStep, pair: tuple[str, str]) -> None:
    packet = super_tcp(*pair, PAYLOAD, 1000, sequence=0xFFFFFF00, flags=0x99, options=bytes(12), identity=0xFFFE)
    segments = cut(step, packet)
    head = packet.header_bytes
    tcp = packet.csum_start
    assert b"".join(part[head:] for part in segments) == PAYLOAD
    assert all(valid(part) for part in segments)
    assert [len(part) - head for part in segments] == [1000, 1000, 1000, 1000, 355]
    sequences = [struct.unpack_from(">I", part, tcp + 4)[0] for part in segments]
    assert sequences == [(0xFFFFFF00 + 1000 * n) & 0xFFFFFFFF for n in range(5)]
    assert [part[tcp + 13] for part in segments] == [0x90, 0x10, 0x10, 0x10, 0x19]
    if pair is V4:
        assert [struct.unpack_from(">H", part, 4)[0] for part in segments] == [0xFFFE, 0xFFFF, 0, 1, 2]


@pytest.mark.parametrize("pair", [V4, V6], ids=["v4", "v6"])
def test_ok__udp_segments(step: PacketStep, pair: tuple[str, str]) -> None:
    packet = super_udp(*pair, PAYLOAD, 1111)
    segments = cut(step, packet)
    assert b"".join(part[packet.header_bytes :] for part in segments) == PAYLOAD
    assert all(valid(part) for part in segments)


def test_ok__slots_leave_room_and_pad(step: PacketStep) -> None:
    slots, sizes = step.cut(super_tcp(*V4, bytes(2500), 1000), 1280)
    assert slots.size == 32 + 1040
    assert sizes == [1040, 1040, 540]
    assert [len(slot) for slot in slots] == [1072, 1072, 32 + 544]
    assert all(not any(slot[:16]) and not any(slot[-16:]) for slot in slots)


def test_ok__one_segment(step: PacketStep) -> None:
    (part,) = cut(step, super_tcp(*V4, b"x" * 10, 1000))
    assert valid(part)


def test_ok__checksum_left_to_us() -> None:
    whole = bytearray(udp(*V4, b"payload"))
    pseudo = whole[12:20] + struct.pack(">II", len(whole) - 20, 17)
    struct.pack_into(">H", whole, 26, reference_sum(bytes(pseudo)))
    assert not valid(bytes(whole))
    filled = with_checksum(TunPacket(bytes(whole), csum_start=20, csum_offset=6, needs_checksum=True))
    assert valid(filled)
    assert filled == udp(*V4, b"payload")


@pytest.mark.parametrize(
    "packet",
    [
        TunPacket(bytes(60), gso_type=9, gso_size=10, csum_start=20),
        TunPacket(bytes(10), gso_type=1, gso_size=10, csum_start=20),
        TunPacket(b"\x45" + bytes(59), gso_type=1, gso_size=10, csum_start=0),
        TunPacket(b"\x45" + bytes(59), gso_type=1, gso_size=10, csum_start=50),
        TunPacket(b"\x45" + bytes(59), gso_type=1, gso_size=10, csum_start=20),
        TunPacket(b"\x45" + bytes(31) + b"\xf0" + bytes(30), gso_type=1, gso_size=10, csum_start=20),
        TunPacket(b"\x45" + bytes(31) + b"\x50" + bytes(60000), gso_type=1, gso_size=1, csum_start=20),
    ],
)
def test_fail__nonsense_from_the_device(step: PacketStep, packet: TunPacket) -> None:
    with pytest.raises(BadPacket):
        cut(step, packet)


def test_fail__checksum_outside_the_packet() -> None:
    with pytest.raises(BadPacket):
        with_checksum(TunPacket(bytes(20), csum_start=20, csum_offset=6, needs_checksum=True))
    with pytest.raises(BadPacket):
        with_checksum(TunPacket(bytes(21), csum_start=20, csum_offset=6, needs_checksum=True))


def test_ok__runs_of_one_segmented_send() -> None:
    sizes = [100, 110, 112, 40, 500, 500, 16, 16, 20]
    found = [[len(packet) for packet in run] for run in runs([bytes(size) for size in sizes], 1280)]
    assert found == [[100, 110, 112, 40], [500, 500, 16], [16], [20]]
    assert list(runs([], 1280)) == []


def test_ok__slots_of_a_run() -> None:
    slots = slots_of_run([b"a" * 100, b"b" * 112, b"c" * 3], 1280)
    assert slots.size == 144
    assert [bytes(slot[16:-16]).rstrip(b"\0") for slot in slots] == [b"a" * 100, b"b" * 112, b"c" * 3]
