import pytest

from appliance.engine.userspace.packet_step import PacketStep
from appliance.engine.userspace.segmentation import split
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, tcp, udp

V4 = ("100.64.0.1", "100.64.0.2")
V6 = ("fd7a::1", "fd7a::2")


def joined(step: PacketStep, packets: list[bytes]) -> list[TunPacket]:
    return step.join([memoryview(packet) for packet in packets])


def segments(count: int, size: int = 100, **fields: int | bytes) -> list[bytes]:
    return [tcp(*V4, bytes((n,)) * size, sequence=1 + n * size, identity=7 + n, **fields) for n in range(count)]


@pytest.mark.parametrize("pair", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("flags", [0x10, 0x18])
def test_ok__gives_back_what_was_cut(step: PacketStep, pair: tuple[str, str], flags: int) -> None:
    packet = super_tcp(*pair, bytes(range(256)) * 20, 1000, flags=flags, options=bytes(range(12)))
    (whole,) = joined(step, split(packet))
    assert bytes(whole.data) == bytes(packet.data)
    assert (whole.gso_type, whole.gso_size, whole.header_bytes, whole.csum_start, whole.csum_offset) == (
        packet.gso_type,
        packet.gso_size,
        packet.header_bytes,
        packet.csum_start,
        packet.csum_offset,
    )
    assert whole.needs_checksum


def test_ok__two_flows_interleaved(step: PacketStep) -> None:
    first, second = segments(3), segments(3, port=1001)
    packets = [packet for both in zip(first, second, strict=True) for packet in both]
    assert [len(packet.data) for packet in joined(step, packets)] == [340, 340]


@pytest.mark.parametrize(
    "fields",
    [{"acknowledgment": 2}, {"options": b"\x01" * 4}, {"sequence": 5000}, {"sequence": 1}, {"flags": 0x11}],
)
def test_fail__neighbours_that_differ_stay_apart(step: PacketStep, fields: dict[str, int | bytes]) -> None:
    first = segments(1)[0]
    other = tcp(*V4, b"\x02" * 100, **{"sequence": 101, **fields})  # type: ignore[arg-type]
    assert [bytes(packet.data) for packet in joined(step, [first, other])] == [first, other]


def test_fail__a_wrong_checksum_is_never_hidden(step: PacketStep) -> None:
    packets = segments(3)
    for bad in range(3):
        broken = list(packets)
        broken[bad] = broken[bad][:-1] + b"!"
        result = joined(step, broken)
        assert broken[bad] in [bytes(packet.data) for packet in result if not packet.gso_size]


def test_ok__a_push_or_a_short_segment_ends_the_run(step: PacketStep) -> None:
    packets = segments(4)
    packets[1] = tcp(*V4, bytes((1,)) * 100, sequence=101, flags=0x18)
    assert [len(packet.data) for packet in joined(step, packets)] == [240, 240]
    packets = [*segments(2), tcp(*V4, b"s" * 10, sequence=201), tcp(*V4, b"t" * 10, sequence=211)]
    assert [len(packet.data) for packet in joined(step, packets)] == [250, 50]


def test_ok__a_pure_acknowledgment_keeps_its_place(step: PacketStep) -> None:
    a, b, c = segments(3)
    ack = tcp(*V4, b"", sequence=201, acknowledgment=9)
    result = joined(step, [a, b, ack, c])
    assert [len(packet.data) for packet in result] == [240, 40, 140]


def test_ok__others_pass_untouched(step: PacketStep) -> None:
    fragment = bytearray(segments(1)[0])
    fragment[6] = 0x20
    options = bytes([0x46]) + segments(1)[0][1:]
    odd = [udp(*V4, b"x"), bytes(fragment), bytes(fragment), options, b"\x45" + bytes(19), bytes(40)]
    assert [bytes(packet.data) for packet in joined(step, odd)] == odd


def test_ok__never_larger_than_an_ip_packet(step: PacketStep) -> None:
    result = joined(step, segments(50, 1400))
    assert len(result) == 2
    assert all(len(packet.data) <= 65535 for packet in result)
