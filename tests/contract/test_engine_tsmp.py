"""Packets of the mesh itself: kept from the host, first on every new key pair, sent beside the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from appliance.ports.engine import EngineDiff
from appliance.ports.underlay import PARKED, PeerPath
from appliance.proto.tsmp import Message, Packet, Ping, encode_packet, parse_packet
from appliance.types.keys import NodePublicKey
from tests.contract.packets import udp
from tests.contract.world import Node, World

PING = Ping(b"12345678")


@dataclass
class Handler:
    """Keeps what came; greets with `greeting`."""

    greeting: bytes | None = None
    got: list[tuple[NodePublicKey, Message]] = field(default_factory=list)
    greeted: list[NodePublicKey] = field(default_factory=list)

    def first_packet(self, peer: NodePublicKey) -> bytes | None:
        self.greeted.append(peer)
        return self.greeting

    def tsmp_received(self, peer: NodePublicKey, packet: bytes) -> None:
        self.got.append((peer, parse_packet(packet).message))


def packet(source: str, destination: str, data: bytes = PING.data) -> bytes:
    return encode_packet(Packet(ip_address(source), ip_address(destination), Ping(data)))


def handlers(*nodes: Node) -> list[Handler]:
    made = [Handler() for _ in nodes]
    for node, handler in zip(nodes, made, strict=True):
        node.engine.set_tsmp_handler(handler)
    return made


async def test_ok__host_never_sees_it_over_both_families(world: World) -> None:
    a, b = await world.pair()
    _, handler = handlers(a, b)
    for source, destination in ((a.v4, b.v4), (a.v6, b.v6)):
        a.engine.send_packet(b.key, packet(source, destination))
        world.carry()
    assert handler.got == [(a.key, PING), (a.key, PING)]
    assert b.got() == []
    a.push(udp(a.v4, b.v4, b"for the host"))
    assert len(b.got()) == 1


async def test_ok__host_never_sees_it_without_a_handler(world: World) -> None:
    a, b = await world.pair()
    a.push(packet(a.v4, b.v4))
    assert b.got() == []
    assert b.engine.counters()["tsmp_received"] == 1


async def test_ok__comes_by_relay_too(world: World) -> None:
    a, b = await world.pair(direct=False)
    _, handler = handlers(a, b)
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(relay=True))
    a.engine.send_packet(b.key, packet(a.v4, b.v4))
    world.carry()
    assert handler.got == [(a.key, PING)]


async def test_ok__packet_waits_for_a_path(world: World) -> None:
    a, b = await world.pair(direct=False)
    _, handler = handlers(a, b)
    a.engine.send_packet(b.key, packet(a.v4, b.v4))
    world.carry()
    assert a.sink.wanted == [b.key]
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(direct=other.addr))
    world.carry()
    assert handler.got == [(a.key, PING)]


async def test_ok__greeting_leads_on_every_new_key_pair_of_both_sides(world: World) -> None:
    a, b = await world.pair()
    on_a, on_b = handlers(a, b)
    on_a.greeting, on_b.greeting = packet(a.v4, b.v4, b"greets-b"), packet(b.v4, a.v4, b"greets-a")
    order: list[str] = []
    seen = on_b.tsmp_received
    on_b.tsmp_received = lambda peer, data: (order.append("greeting"), seen(peer, data))[1]  # type: ignore[method-assign]  # watches the order
    send = b.tun.send
    b.tun.send = lambda packets: (order.append("data"), send(packets))[1]  # type: ignore[method-assign]  # watches the order
    a.push(udp(a.v4, b.v4, b"data"))
    assert order == ["greeting", "data"]
    assert on_b.got == [(a.key, Ping(b"greets-b"))]
    assert on_a.got == [(b.key, Ping(b"greets-a"))]
    world.advance(2)
    await a.engine.apply(EngineDiff(reset=(b.key,)))
    a.push(udp(a.v4, b.v4, b"again"))
    assert len(on_b.got) == len(on_a.got) == 2


async def test_ok__greeting_is_no_traffic_of_users(world: World) -> None:
    a, b = await world.pair()
    (handler,) = handlers(a)
    handler.greeting = packet(a.v4, b.v4)
    a.push(udp(a.v4, b.v4, b"x"))
    size = len(udp(a.v4, b.v4, b"x"))
    world.advance(2)
    assert sum(report.tx_bytes for _, report in a.sink.reports) == size
    assert sum(report.rx_bytes for _, report in b.sink.reports) == size


async def test_ok__nothing_to_say_keeps_the_keepalive(world: World) -> None:
    a, b = await world.pair()
    handler, _ = handlers(a, b)
    a.engine.send_packet(b.key, packet(a.v4, b.v4))
    world.carry()
    assert handler.greeted == [b.key]
    assert b.engine.statistics()[a.key].last_handshake is not None


async def test_fail__source_of_another_node(world: World) -> None:
    a, b = await world.pair()
    _, handler = handlers(a, b)
    a.engine.send_packet(b.key, packet("100.64.0.9", b.v4))
    world.carry()
    assert handler.got == []
    assert b.engine.counters()["wrong_inner_source"] == 1


async def test_fail__unknown_peer_is_ignored(world: World) -> None:
    a, _ = await world.pair()
    a.engine.send_packet(NodePublicKey(b"\x09" * 32), packet(a.v4, "100.64.0.9"))
    world.carry()
    assert world.sent == []


async def test_ok__parked_greeting_waits(world: World) -> None:
    """A peer that lost its path between question and answer gets the greeting when there is one again."""
    a, b = await world.pair()
    on_a, on_b = handlers(a, b)
    on_b.greeting = packet(b.v4, a.v4)
    b.engine.set_path(a.key, PARKED)
    a.push(udp(a.v4, b.v4, b"x"))
    assert on_a.got == []
    b.engine.set_path(a.key, PeerPath(direct=a.addr))
    world.carry()
    assert on_a.got == [(b.key, PING)]
