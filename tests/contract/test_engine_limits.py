"""Counters of a key pair come to their end: another handshake, never a counter twice, nothing lost or out of order."""

from __future__ import annotations

import pytest

from appliance.proto.wireguard import Settings
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, udp
from tests.contract.world import World

LIMIT = 10


@pytest.fixture
async def pair(world: World):
    world.settings = Settings(reject_after_messages=LIMIT, rekey_timeout_s=0.1)
    a, b = await world.pair()
    a.push(udp(a.v4, b.v4, b"first"))
    b.got()
    return a, b


def counters_sent(world: World) -> list[tuple[bytes, bytes]]:
    """Receiver index and counter of every transport message on the wire."""
    messages = [bytes(message) for _, _, batch in world.sent for message in batch]
    return [(message[4:8], message[8:16]) for message in messages if message[:4] == b"\x04\0\0\0"]


async def test_ok__single_packets_go_on_over_the_limit(world: World, pair) -> None:
    a, b = pair
    packets = [udp(a.v4, b.v4, bytes((n,))) for n in range(50)]
    for packet in packets:
        world.advance(0.5)
        a.push(packet)
    assert b.got() == packets
    sent = counters_sent(world)
    assert len(sent) == len(set(sent))
    assert all(int.from_bytes(counter, "little") < LIMIT for _, counter in sent)


async def test_ok__super_packets_that_no_longer_fit(world: World, pair) -> None:
    a, b = pair
    payload = bytes(range(256)) * 20
    for number in range(8):
        world.advance(0.5)
        a.push(super_tcp(a.v4, b.v4, payload, 1000, sequence=1 + number * len(payload)))
    world.advance(1.0)
    got = b.got()
    assert b"".join(packet[40:] for packet in got) == payload * 8
    sent = counters_sent(world)
    assert len(sent) == len(set(sent))
    assert all(int.from_bytes(counter, "little") < LIMIT for _, counter in sent)


async def test_ok__a_mixed_group_keeps_its_order(world: World, pair) -> None:
    a, b = pair
    packets = [udp(a.v4, b.v4, bytes((n,)) * (10 + n % 3)) for n in range(14)]
    world.advance(0.5)
    for packet in packets[:-1]:
        a.tun._waiting.append(TunPacket(packet))
    a.push(packets[-1])
    world.advance(1.0)
    assert b.got() == packets
