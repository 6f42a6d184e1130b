"""The kernel engine on the kernel's own WireGuard: run inside the guest (`make qemu`)."""

from __future__ import annotations

import asyncio
import socket
import time
from base64 import b64encode
from ipaddress import ip_address, ip_network

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.underlay import PeerPath
from appliance.proto.geneve import PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.proto.tsmp import Packet, Ping, encode_packet, parse_packet
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePrivateKey, NodePublicKey
from tests.qemu.guest.world import PORT, Node, Transfer, World, inside, ping, until

pytestmark = pytest.mark.timeout(300)

RELAY = PeerPath(relay=True)
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(60)
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
GENEVE_DISCO = bytes.fromhex("00807a110001c800") + DISCO


def direct(a: Node, b: Node, *, v6: bool = False) -> None:
    a.path(b, PeerPath(direct=b.addr6 if v6 else b.addr))
    b.path(a, PeerPath(direct=a.addr6 if v6 else a.addr))


async def test_ok__direct_traffic_never_passes_this_process(world: World) -> None:
    a, b = await world.up()
    direct(a, b)
    assert await ping(a, b.v4)
    assert await ping(b, a.v6)
    assert (a.sink.relayed, b.sink.relayed, a.sink.wanted, b.sink.wanted) == (0, 0, [], [])
    await until(lambda: sum(report.rx_bytes for report in b.sink.reports) > 0)
    assert all(report.source == a.addr and report.rx_direct for report in b.sink.reports)
    statistics = a.engine.statistics()[b.key]
    assert statistics.endpoint == b.addr
    assert statistics.last_handshake is not None


async def test_ok__first_packet_wakes_a_parked_peer_and_goes_by_relay(world: World) -> None:
    a, b = await world.up()
    for node, other in ((a, b), (b, a)):
        node.sink.on_wanted = lambda peer, node=node, other=other: node.path(other, RELAY)
    started = time.monotonic()
    assert await ping(a, b.v4, 1)
    print(f"first reply by relay after {time.monotonic() - started:.2f} s with the start of ping")
    assert a.sink.wanted == [b.key]
    assert a.sink.relayed
    assert b.sink.relayed
    assert a.endpoint_of(b).startswith("127.64.0.")
    await until(lambda: bool(b.sink.reports))
    assert not any(report.rx_direct or report.source for report in b.sink.reports)


async def test_ok__what_is_not_wireguard_comes_with_its_true_source(world: World) -> None:
    a, b = await world.up()
    for to in (b.addr, b.addr6):
        for datagram in (DISCO, STUN, GENEVE_DISCO):
            a.engine.send_datagrams([(to, datagram)])
    await until(lambda: len(b.sink.datagrams) == 6)
    assert [datagram for _, datagram in b.sink.datagrams] == [DISCO, STUN, GENEVE_DISCO] * 2
    assert {source for source, _ in b.sink.datagrams} == {a.addr, a.addr6}
    assert {str(port) for port in b.engine.local_ports()} == {f"0.0.0.0:{PORT}", f"[::]:{PORT}"}


async def test_fail__inner_port_is_not_open_to_the_network(world: World) -> None:
    a, b = await world.up()
    inner = b.engine._sender.local_ports()[0].port
    with inside(a.host), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(DISCO, (b.addr.ip, inner))
        stranger.sendto(STUN, b.addr)
    await until(lambda: bool(b.sink.datagrams))
    assert [datagram for _, datagram in b.sink.datagrams] == [STUN]


@pytest.mark.parametrize("v6", [False, True])
async def test_ok__switching_under_a_stream_loses_nothing(world: World, v6: bool) -> None:
    a, b = await world.up()
    for node, other in ((a, b), (b, a)):
        node.path(other, RELAY)
    stream = Transfer(a, b)
    await stream.start()
    await stream.more()
    handshake = a.handshake_with(b)
    for turn in range(3):
        direct(a, b, v6=v6)
        await stream.more()
        before = a.sink.relayed + b.sink.relayed
        await stream.more()
        assert a.sink.relayed + b.sink.relayed - before < 10, f"turn {turn}: direct, yet by relay"
        for node, other in ((a, b), (b, a)):
            node.path(other, RELAY)
        await stream.more()
    assert await stream.finish() > 9 * 65536
    print(f"longest pause {stream.longest_pause_s:.2f} s, v6 {v6}")
    assert stream.longest_pause_s < 5
    assert a.handshake_with(b) == handshake


@pytest.mark.parametrize("v6", [False, True])
async def test_ok__relayed_packets_never_move_the_direct_path(world: World, v6: bool) -> None:
    """One side is direct, the other still sends by relay: its packets bear the direct source."""
    a, b = await world.up()
    direct(a, b, v6=v6)
    assert await ping(a, b.v4)
    with inside(a.host):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((a.v4, 7000))
    with inside(b.host):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    b.path(a, RELAY)
    with listener, sender:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        for number in range(20):
            sender.sendto(bytes((number,)), (a.v4, 7000))
            async with asyncio.timeout(10):
                assert await loop.sock_recv(listener, 10) == bytes((number,))
    assert b.sink.relayed >= 20
    assert a.endpoint_of(b) == str(b.addr6 if v6 else b.addr)
    relayed = a.sink.relayed
    assert await ping(a, b.v6, 3)
    assert a.sink.relayed == relayed


async def test_ok__mirrored_survives_the_loss_of_either(world: World) -> None:
    a, b = await world.up()
    a.path(b, PeerPath(direct=b.addr, relay=True))
    b.path(a, PeerPath(direct=a.addr, relay=True))
    assert await ping(a, b.v4)
    a.sink.relaying = b.sink.relaying = False
    assert await ping(a, b.v4)
    a.sink.relaying = b.sink.relaying = True
    for node, other in ((a, b), (b, a)):
        node.path(other, RELAY)
    b.host.nft(
        "table inet wall { chain in { type filter hook input priority 0; iifname eth0 udp dport 41641 drop; }; }"
    )
    b.host.nft("table inet wall {}; delete table inet wall")
    assert await ping(a, b.v4)


async def test_ok__peer_relay_wraps_in_geneve(world: World) -> None:
    a, b = await world.up()
    a.path(b, PeerPath(direct=b.addr, vni=456))
    b.path(a, PeerPath(direct=a.addr, vni=456))
    assert await ping(a, b.v4)
    assert (a.sink.relayed, a.sink.wanted) == (0, [])
    await until(lambda: bool(b.sink.reports))
    assert all(report.rx_direct and report.source is None for report in b.sink.reports)
    header = encode_header(GeneveHeader(PROTOCOL_WIREGUARD, 999))
    a.engine.send_datagrams([(b.addr, header + bytes(40))])
    await until(lambda: b.engine.counters().get("geneve_unknown") == 1)


async def test_ok__roaming_is_followed_and_reported(world: World) -> None:
    a, b = await world.up()
    direct(a, b)
    assert await ping(a, b.v4)
    a.engine.rebind(9999)
    assert await ping(a, b.v4)
    assert b.endpoint_of(a) == "192.0.2.1:9999"
    await until(lambda: any(report.source == AddrPort("192.0.2.1", 9999) for report in b.sink.reports))


async def test_ok__stray_direct_packets_end_when_path_finding_does_not_agree(world: World) -> None:
    a, b = await world.up()
    a.path(b, PeerPath(direct=b.addr))
    b.path(a, RELAY)
    assert await ping(a, b.v4)
    assert b.endpoint_of(a) == str(a.addr)
    a.path(b, RELAY)
    await until(lambda: b.endpoint_of(a).startswith("127.64."), 30)
    assert await ping(a, b.v4)


class Handler:
    def __init__(self, greeting: bytes | None = None) -> None:
        self.greeting = greeting
        self.got: list[tuple[NodePublicKey, bytes]] = []

    def first_packet(self, peer: NodePublicKey) -> bytes | None:
        return self.greeting

    def tsmp_received(self, peer: NodePublicKey, packet: bytes) -> None:
        self.got.append((peer, packet))


def packet(source: str, to: str, data: bytes = b"12345678") -> bytes:
    return encode_packet(Packet(ip_address(source), ip_address(to), Ping(data)))


async def test_ok__packets_of_the_mesh_over_both_versions_and_a_greeting(world: World) -> None:
    a, b = await world.up()
    on_a, on_b = Handler(), Handler(packet(b.v4, a.v4, b"greeting"))
    a.engine.set_tsmp_handler(on_a)
    b.engine.set_tsmp_handler(on_b)
    direct(a, b)
    a.engine.send_packet(b.key, packet(a.v4, b.v4))
    a.engine.send_packet(b.key, packet(a.v6, b.v6))
    await until(lambda: len(on_b.got) == 2 and len(on_a.got) >= 1)
    assert {parse_packet(raw).source for _, raw in on_b.got} == {ip_address(a.v4), ip_address(a.v6)}
    assert {key for key, _ in on_b.got} == {a.key}
    assert parse_packet(on_a.got[0][1]).message == Ping(b"greeting")


async def test_ok__killed_process_leaves_the_stream_and_its_successor_takes_over(world: World) -> None:
    a, b = await world.up()
    direct(a, b)
    stream = Transfer(a, b)
    await stream.start()
    await stream.more()
    handshake = a.handshake_with(b)
    old = a.engine
    old._closed = True  # what a killed process does: its sockets go, the device stays
    assert old._alarm is not None
    old._alarm.cancel()
    old._sender.close()
    for port in (old._loopback, old._mesh):
        assert port is not None
        port.set_reader(None)
        port.close()
    old._device._release()  # type: ignore[attr-defined]  # its sockets end with the process
    await stream.more()
    a.make(adopt=True)
    await a.start(b)
    assert a.engine.adopted
    await stream.more()
    await until(lambda: any(report.source == b.addr for report in a.sink.reports))
    direct(a, b)
    await stream.more()
    print(f"longest pause {stream.longest_pause_s:.2f} s over a restart")
    await stream.finish()
    assert a.handshake_with(b) == handshake


async def test_ok__reset_and_greet_make_new_sessions(world: World) -> None:
    a, b = await world.up()
    direct(a, b)
    assert await ping(a, b.v4)
    await a.engine.apply(EngineDiff(reset=(b.key,)))
    assert "\t0\t0\t0\t" in a.device().splitlines()[1] + "\t"
    assert await ping(a, b.v4)
    await b.close()
    b.make()
    await b.up(a)
    b.path(a, PeerPath(direct=a.addr))
    await b.engine.apply(EngineDiff(greet=(a.key,)))
    await until(lambda: b.engine.statistics()[a.key].last_handshake is not None)
    assert await ping(a, b.v4)


def many_peers(count: int) -> tuple[EnginePeer, ...]:
    keys = [public_key(NodePrivateKey(clamp(number.to_bytes(2, "big") * 16))) for number in range(1000, 1000 + count)]
    return tuple(
        EnginePeer(key, (ip_network(f"100.65.{n >> 8}.{n & 255}/32"), ip_network(f"fd7a:115c:a1e0:1::{n + 1:x}/128")))
        for n, key in enumerate(keys)
    )


async def test_ok__two_hundred_peers(world: World) -> None:
    a, b = await world.up()
    direct(a, b)
    peers = many_peers(200)
    keys = [peer.key for peer in peers]
    started = time.monotonic()
    await a.engine.apply(EngineDiff(upsert=peers))
    added = time.monotonic()
    assert len(a.device().splitlines()) == 202
    moved = time.monotonic()
    for key in keys:
        a.engine.set_path(key, PeerPath(direct=AddrPort("192.0.2.9", 9)))
    done = time.monotonic()
    assert a.device().count("192.0.2.9:9") == 200
    print(f"200 peers: added in {added - started:.3f} s, one path {(done - moved) / 200 * 1000:.2f} ms")
    assert await ping(a, b.v4)
    await a.engine.apply(EngineDiff(replace=True, upsert=(b.as_peer(),)))
    assert len(a.device().splitlines()) == 2
    assert await ping(a, b.v4)


async def test_ok__a_peer_of_many_prefixes_and_prefixes_that_move(world: World) -> None:
    a, b = await world.up()
    prefixes = tuple(ip_network(f"10.{n >> 8}.{n & 255}.0/24") for n in range(3000))
    await a.engine.apply(EngineDiff(upsert=(EnginePeer(b.key, prefixes),)))
    other = public_key(NodePrivateKey(clamp(b"x" * 32)))
    await a.engine.apply(EngineDiff(upsert=(EnginePeer(other, prefixes[:1]),)))
    allowed = {
        line.split("\t")[0]: line.split("\t")[1]
        for line in a.host.run("wg", "show", "waypost0", "allowed-ips").splitlines()
    }
    assert sorted(len(entry.split()) for entry in allowed.values()) == [1, 2999]
    assert len(a.engine._device.peers()) == 2


async def test_ok__plain_wireguard_peer_both_ways(world: World) -> None:
    """`wg` alone on the other side: no disco, no relay; it may speak first."""
    a, b = world.a, world.b
    await a.up(b)
    b.host.ip("link add wg0 type wireguard")
    try:
        text = f"[Interface]\nPrivateKey = {b64encode(b.private.reveal()).decode()}\nListenPort = {PORT}\n"
        text += f"[Peer]\nPublicKey = {b64encode(a.key.raw).decode()}\nAllowedIPs = {a.v4}/32\n"
        b.host.run("wg", "setconf", "wg0", "/dev/stdin", stdin=text + f"Endpoint = {a.addr}\n")
        b.host.ip("link set wg0 up")
        b.host.ip(f"addr add {b.v4}/10 dev wg0")
        assert await ping(b, a.v4)
        await until(lambda: any(report.source == b.addr for report in a.sink.reports))
        a.path(b, PeerPath(direct=b.addr))
        assert await ping(a, b.v4)
        assert (a.sink.relayed, a.sink.wanted) == (0, [])
    finally:
        b.host.ip("link del wg0")


async def test_ok__switching_on_a_slow_and_lossy_link(world: World) -> None:
    a, b = await world.up()
    for node, other in ((a, b), (b, a)):
        node.path(other, RELAY)
        node.host.ip("link set eth0 up")
        node.host.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "30ms", "5ms", "loss", "1%")
    try:
        stream = Transfer(a, b)
        await stream.start()
        for _ in range(2):
            direct(a, b)
            await stream.more(seconds=60)
            for node, other in ((a, b), (b, a)):
                node.path(other, RELAY)
            await stream.more(seconds=60)
        await stream.finish()
    finally:
        for node in (a, b):
            node.host.run("tc", "qdisc", "del", "dev", "eth0", "root")


async def test_ok__new_session_keys_under_a_stream_that_changes_paths(world: World) -> None:
    """WireGuard makes new keys after 120 s."""
    a, b = await world.up()
    direct(a, b)
    stream = Transfer(a, b)
    await stream.start()
    handshake = a.handshake_with(b)
    end = time.monotonic() + 140
    while a.handshake_with(b) == handshake:
        assert time.monotonic() < end
        direct(a, b)
        await stream.more()
        for node, other in ((a, b), (b, a)):
            node.path(other, RELAY)
        await stream.more()
    await stream.more()
    await stream.finish()


async def test_fail__taken_port_leaves_nothing_behind(world: World) -> None:
    a = world.a
    with inside(a.host), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", PORT))
        with pytest.raises(UnderlayError, match=f"port {PORT} is taken"):
            await a.engine.start()
        assert "waypost0" not in a.host.run("ip", "link")


async def test_ok__device_goes_while_it_is_being_read(world: World) -> None:
    """A reading that nobody takes up holds the device, and who removes it would wait for ever."""
    a, _ = await world.up()
    await a.engine.apply(EngineDiff(upsert=many_peers(400)))  # more than the kernel tells at once
    device = a.engine._device
    read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    device._done = None  # type: ignore[attr-defined]  # whatever reading goes on is given up
    device.read_peers(lambda peers: read.set_result(None))
    await a.close()
    assert "waypost0" not in a.host.run("ip", "link")
    assert not read.done()


async def test_ok__close_removes_everything(world: World) -> None:
    a, b = world.a, world.b
    before = [
        a.host.run(*words)
        for words in (("ip", "link"), ("nft", "list", "ruleset"), ("ip", "route", "show", "table", "all"))
    ]
    await a.up(b)
    await a.close()
    assert before == [
        a.host.run(*words)
        for words in (("ip", "link"), ("nft", "list", "ruleset"), ("ip", "route", "show", "table", "all"))
    ]
