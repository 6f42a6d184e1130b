"""Whatever comes: nothing raises, what leaves is sound, and what went there comes back as it was."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from appliance.types.packets import TunPacket
from tests.contract.packets import tcp, udp
from tests.unit.appliance.proto.siit.world import KNOWN, PACKETS, assert_sound, ends, one, translator

PEERS = st.integers(1, (1 << 64) - 1).map(lambda low: str(IPv6Address(0x2001_0DB8 << 96 | low)))
HOSTS = st.integers(1, 254).map(lambda last: IPv4Address(f"192.168.1.{last}"))
SEEDS = st.sampled_from(PACKETS)


@given(peer=PEERS, host=HOSTS, data=st.binary(max_size=900), build=st.sampled_from([udp, tcp]))
def test_ok__there_and_back(peer: str, host: IPv4Address, data: bytes, build) -> None:
    made = translator()
    via = str(IPv6Address(int(IPv6Address("fd7a:115c:a1e0:b1a:0:7::")) | int(host)))
    there = one(made.translate([TunPacket(build(peer, via, data))], 0.0))
    assert_sound(there)
    back = one(made.translate([TunPacket(build(str(host), ends(there)[0], data))], 0.0))
    assert_sound(back)
    assert ends(back) == (via, peer)


@given(
    seed=SEEDS,
    cut=st.integers(0, 200),
    changes=st.lists(st.tuples(st.integers(0, 140), st.integers(0, 255)), max_size=6),
    size=st.sampled_from([0, 0, 1, 500, 1460]),
    partial=st.booleans(),
    kind=st.integers(0, 255),
    header=st.integers(0, 200),
)
def test_ok__mutated_packets_raise_nothing(
    seed: bytes, cut: int, changes: list[tuple[int, int]], size: int, partial: bool, kind: int, header: int
) -> None:
    made = translator()
    made.translate([KNOWN], 0.0)
    packet = bytearray(seed[:-cut] if cut else seed)
    for at, value in changes:
        if at < len(packet):
            packet[at] = value
    datagram = TunPacket(bytes(packet), kind if size else 0, size, header, 0, 0, partial)
    for out in made.translate([datagram, TunPacket(bytes(packet))], 0.0):
        assert len(out.data) <= 65535 + 28


@given(data=st.binary(max_size=200))
def test_ok__noise_raises_nothing(data: bytes) -> None:
    made = translator()
    made.translate([TunPacket(data), TunPacket(b"\x45" + data), TunPacket(b"\x60" + data)], 0.0)
