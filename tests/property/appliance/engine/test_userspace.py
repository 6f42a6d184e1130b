"""Cutting and joining against each other, the prefix table against a plain search, joining against hostile packets."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.engine.userspace.coalescing import coalesce
from appliance.engine.userspace.segmentation import BadPacket, split
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, tcp, udp, valid

PAIRS = st.sampled_from([("100.64.0.1", "100.64.0.2"), ("fd7a::1", "fd7a::2")])


@given(PAIRS, st.binary(min_size=1, max_size=4000), st.integers(100, 1400), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_ok__join_undoes_cut(pair: tuple[str, str], payload: bytes, step: int, sequence: int) -> None:
    packet = super_tcp(*pair, payload, step, sequence=sequence)
    parts = split(packet)
    assert all(valid(part) for part in parts)
    result = coalesce([memoryview(part) for part in parts])
    assert len(result) == 1
    if len(parts) > 1:
        assert bytes(result[0].data) == bytes(packet.data)
    else:
        assert bytes(result[0].data) == parts[0]


@given(st.lists(st.binary(min_size=20, max_size=120), max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_fail__joining_never_raises_and_loses_nothing(noise: list[bytes], random) -> None:
    base = [tcp("10.0.0.1", "10.0.0.2", b"x" * 50, sequence=1 + n * 50) for n in range(4)]
    base += [tcp("fd7a::1", "fd7a::2", b"x" * 50), udp("10.0.0.1", "10.0.0.2", b"y" * 50)]
    mutated = []
    for packet in base:
        broken = bytearray(packet)
        for _ in range(random.randrange(3)):
            broken[random.randrange(1, len(broken))] = random.randrange(256)
        mutated.append(bytes(broken[: random.randrange(40, len(broken) + 1)]))
    versions = [bytes((random.choice((0x45, 0x46, 0x60)),)) + packet[1:] for packet in noise]
    packets = mutated + [packet if packet[0] >> 4 == 4 else packet + bytes(40) for packet in versions]
    result = coalesce([memoryview(packet) for packet in packets])
    plain = [bytes(packet.data) for packet in result if not packet.gso_size]
    assert len(result) <= len(packets)
    assert all(packet in packets for packet in plain)


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(1, 70), st.integers(0, 220))
@settings(max_examples=200)
def test_fail__cutting_nonsense(data: bytes, kind: int, size: int, start: int) -> None:
    try:
        parts = split(TunPacket(data, gso_type=kind, gso_size=size, csum_start=start))
    except BadPacket:
        return
    assert parts


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.tuples(st.integers(0, 255), st.integers(8, 32)), max_size=4)),
        max_size=12,
    ),
    st.lists(st.integers(0, 255), min_size=1, max_size=5),
)
@settings(max_examples=150)
def test_ok__prefix_table_against_a_search(steps: list[tuple[int, list[tuple[int, int]]]], asked: list[int]) -> None:
    table: AllowedIPs[str] = AllowedIPs()
    model: dict[object, str] = {}
    for number, prefixes in steps:
        owner = f"p{number}"
        nets = {ip_network((f"10.{octet}.0.0", length), strict=False) for octet, length in prefixes}
        model = {net: who for net, who in model.items() if who != owner} | dict.fromkeys(nets, owner)
        table.assign(owner, nets)
        if number == 5:
            table.remove(owner)
            model = {net: who for net, who in model.items() if who != owner}
        for octet in asked:
            address = ip_address(f"10.{octet}.0.0")
            best = max((net for net in model if address in net), key=lambda net: net.prefixlen, default=None)
            assert table.lookup(address.packed) == (model[best] if best is not None else None)
