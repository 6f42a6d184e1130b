"""Pings through the tunnel and disco keys told by peers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest

from appliance.daemon.tsmp import NoTunnelAddressError, TsmpService
from appliance.magicsock.errors import PingTimeoutError
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.ports.tsmp import MemoryTsmpPort
from appliance.proto.tsmp import (
    DiscoAdvertisement,
    Message,
    Packet,
    Ping,
    Pong,
    Rejected,
    encode_packet,
    parse_packet,
)
from appliance.types.addresses import AddrPort
from appliance.types.events import FlowRefused
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import Node

OURS, THEIRS = DiscoPublicKey(b"\x01" * 32), DiscoPublicKey(b"\x02" * 32)


def node(number: int) -> Node:
    prefixes = ip_network(f"100.64.0.{number}/32"), ip_network(f"fd7a:115c:a1e0::{number}/128")
    key = NodePublicKey(bytes([number]) * 32)
    return Node(NodeId(number), StableNodeId(f"n{number}"), f"gw{number}.mesh.", key, addresses=prefixes)


class Rig:
    """We are node 1, our peer is node 2."""

    def __init__(self) -> None:
        self.own, self.peer = node(1), node(2)
        self.port = MemoryTsmpPort()
        self.learned: list[tuple[NodePublicKey, DiscoPublicKey]] = []
        self.published: list[FlowRefused] = []
        self.clock = VirtualClock()
        self.view = SimpleNamespace(
            self_node=self.own, peer_by_key=lambda key: self.peer if key == self.peer.key else None
        )
        self.service = TsmpService(
            self.port,
            lambda: self.view,
            lambda: OURS,
            lambda peer, key: self.learned.append((peer, key)) is None,
            lambda version: {4: 4444, 6: 6666}[version],
            self.clock,
            SeededRandomness(1),
            self.published.append,
        )

    def receive(self, message: Message, source: str = "100.64.0.2", destination: str = "100.64.0.1") -> None:
        packet = encode_packet(Packet(ip_address(source), ip_address(destination), message))
        assert self.port.tsmp_handler is not None
        self.port.tsmp_handler.tsmp_received(self.peer.key, packet)

    def sent(self) -> list[Packet]:
        return [parse_packet(packet) for _, packet in self.port.packets]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_ok__ping_is_answered_with_the_port_of_its_family(rig: Rig) -> None:
    rig.receive(Ping(b"12345678"))
    rig.receive(Ping(b"abcdefgh"), "fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1")
    assert rig.sent() == [
        Packet(ip_address("100.64.0.1"), ip_address("100.64.0.2"), Pong(b"12345678", 4444)),
        Packet(ip_address("fd7a:115c:a1e0::1"), ip_address("fd7a:115c:a1e0::2"), Pong(b"abcdefgh", 6666)),
    ]


async def test_ok__our_ping_ends_with_the_pong(rig: Rig) -> None:
    def answer(_peer: NodePublicKey, packet: bytes) -> None:
        message = parse_packet(packet).message
        assert isinstance(message, Ping)
        rig.receive(Pong(message.data, 58436))

    rig.port.on_packet = answer
    found = await rig.service.ping(rig.peer, 5)
    assert found.peerapi_port == 58436
    assert 0 <= found.latency_s < 5


async def test_fail__no_pong(rig: Rig) -> None:
    with pytest.raises(PingTimeoutError, match="gw2"):
        await rig.service.ping(rig.peer, 0.01)
    assert rig.service._pings == {}


async def test_fail__pong_of_another_ping_is_counted(rig: Rig) -> None:
    rig.receive(Pong(b"12345678", 1))
    assert rig.service.counters["tsmp_pong_unknown"] == 1


async def test_ok__cancelled_ping_leaves_nothing(rig: Rig) -> None:
    task = asyncio.ensure_future(rig.service.ping(rig.peer, 5))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert rig.service._pings == {}


async def test_fail__no_common_ip_version(rig: Rig) -> None:
    rig.view.self_node = replace(rig.own, addresses=rig.own.addresses[:1])
    with pytest.raises(NoTunnelAddressError):
        await rig.service.ping(replace(rig.peer, addresses=rig.peer.addresses[1:]), 1)


def test_ok__first_packet_tells_our_disco_key(rig: Rig) -> None:
    packet = rig.service.first_packet(rig.peer.key)
    assert packet is not None
    wanted = Packet(ip_address("100.64.0.1"), ip_address("100.64.0.2"), DiscoAdvertisement(OURS))
    assert parse_packet(packet) == wanted


def test_ok__plain_wireguard_peers_and_strangers_are_told_nothing(rig: Rig) -> None:
    assert rig.service.first_packet(NodePublicKey(b"\x09" * 32)) is None
    rig.peer = replace(rig.peer, wireguard_only=True)
    assert rig.service.first_packet(rig.peer.key) is None


def test_ok__told_disco_key_goes_to_path_finding(rig: Rig) -> None:
    rig.receive(DiscoAdvertisement(THEIRS))
    assert rig.learned == [(rig.peer.key, THEIRS)]


@pytest.mark.parametrize(
    ("source", "destination"),
    [("192.168.20.7", "100.64.0.1"), ("100.64.0.3", "100.64.0.1"), ("100.64.0.2", "192.168.10.1")],
)
def test_fail__only_the_peer_itself_speaks_and_only_to_us(rig: Rig, source: str, destination: str) -> None:
    for message in (DiscoAdvertisement(THEIRS), Ping(b"12345678")):
        rig.receive(message, source, destination)
    assert (rig.learned, rig.port.packets) == ([], [])
    assert rig.service.counters["tsmp_wrong_address"] == 2


def test_ok__refusals_are_told_one_a_second_also_of_hosts_behind_the_peer(rig: Rig) -> None:
    for source in ("100.64.0.2", "192.168.20.10"):
        rig.receive(Rejected(6, ord("S"), 40000, 80), source)
    rig.clock.advance(1.0)
    rig.receive(Rejected(6, 7, 40000, 443), "192.168.20.10")
    rig.receive(Rejected(6, ord("A"), 1, 2), destination="192.168.10.1")
    assert rig.published == [
        FlowRefused(rig.peer.key, AddrPort("100.64.0.2", 80), "shields up"),
        FlowRefused(rig.peer.key, AddrPort("192.168.20.10", 443), "unknown reason"),
    ]
    assert rig.service.counters["tsmp_rejected"] == 3


def test_ok__refusals_and_nonsense_are_counted(rig: Rig) -> None:
    rig.receive(Rejected(6, ord("A"), 1, 2))
    rig.service.tsmp_received(rig.peer.key, b"\x45" + bytes(30))
    rig.view = None  # type: ignore[assignment]  # logged out
    rig.receive(Ping(b"12345678"))
    assert rig.service.counters["tsmp_rejected"] == 1
    assert rig.service.counters["tsmp_unexpected"] == 1
    assert rig.service.counters["tsmp_wrong_address"] == 1
    assert rig.service.first_packet(rig.peer.key) is None
