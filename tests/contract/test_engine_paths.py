"""The data half of both seams: paths, relay, sorting of datagrams, activity. Every real engine must pass."""

from __future__ import annotations

import itertools
from ipaddress import ip_network

import pytest

from appliance.engine.userspace.packet_step import PacketStep
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.packets import one
from appliance.ports.underlay import PARKED, PeerPath
from appliance.types.addresses import AddrPort
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, tcp, udp, valid
from tests.contract.world import PORT, Node, World

STRANGER = AddrPort("198.51.100.1", 7)
DISCO = b"TS\xf0\x9f\x92\xac"


def ping(source: Node, to: Node, text: bytes = b"ping") -> bytes:
    return udp(source.v4, to.v4, text)


async def test_ok__both_ways(world: World) -> None:
    a, b = await world.pair()
    for size in (0, 1, 15, 16, 17, 1252):
        packet = ping(a, b, bytes(size))
        a.push(packet)
        assert b.got() == [packet]
    packet = udp(b.v6, a.v6, b"pong")
    b.push(packet)
    assert a.got() == [packet]
    statistics = a.engine.statistics()[b.key]
    assert statistics.endpoint == b.addr
    assert statistics.last_handshake == world.clock.wall_now()
    assert statistics.tx_bytes == b.engine.statistics()[a.key].rx_bytes
    assert statistics.rx_bytes == b.engine.statistics()[a.key].tx_bytes


async def test_ok__a_parked_peer_is_wanted_and_its_packets_wait(world: World) -> None:
    a, b = await world.pair(direct=False)
    packets = [ping(a, b, bytes((n,))) for n in range(3)]
    for packet in packets:
        a.push(packet)
    assert a.sink.wanted == [b.key]
    assert world.sent == []
    world.advance(1.0)
    a.push(packets[0])
    assert a.sink.wanted == [b.key, b.key]
    a.engine.set_path(b.key, PeerPath(direct=b.addr))
    world.carry()
    assert b.got() == [*packets, packets[0]]


async def test_ok__what_waits_for_a_parked_peer_is_bounded(world: World) -> None:
    a, b = await world.pair(direct=False)
    packets = [ping(a, b, n.to_bytes(2, "big")) for n in range(200)]
    for packet in packets:
        a.push(packet)
    a.engine.set_path(b.key, PeerPath(direct=b.addr))
    world.carry()
    assert b.got() == packets[-128:]


async def test_ok__a_parked_responder_answers_the_source(world: World) -> None:
    a, b = await world.pair(direct=False)
    a.engine.set_path(b.key, PeerPath(direct=b.addr))
    a.push(ping(a, b))
    assert b.got() == [ping(a, b)]
    assert [report.source for _, report in b.sink.reports] == [a.addr]


async def test_ok__a_handshake_that_found_the_peer_parked_goes_with_the_new_path(world: World) -> None:
    a, b = await world.pair()
    world.lose = lambda source, to, batch: True
    a.push(ping(a, b))
    a.engine.set_path(b.key, PARKED)
    world.advance(5.5)
    assert a.sink.wanted == [b.key]
    world.lose = lambda source, to, batch: False
    a.engine.set_path(b.key, PeerPath(direct=b.addr))
    world.carry()
    assert b.got() == [ping(a, b)]


async def test_ok__relay_only(world: World) -> None:
    a, b = await world.pair(direct=False)
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(relay=True))
    a.push(ping(a, b))
    b.push(ping(b, a))
    assert (b.got(), a.got()) == ([ping(a, b)], [ping(b, a)])
    assert world.sent == []
    assert not any(report.rx_direct or report.source for _, report in b.sink.reports)


async def test_ok__mirrored_packets_arrive_once(world: World) -> None:
    a, b = await world.pair(direct=False)
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(direct=other.addr, relay=True))
    packets = [ping(a, b, bytes((n,))) for n in range(10)]
    for packet in packets:
        a.push(packet)
    assert b.got() == packets
    assert len(a.sink.relayed) == sum(1 for source, _, _ in world.sent if source == a.addr) > 10
    assert b.engine.counters()["replay"] >= 9


@pytest.mark.parametrize("dead", ["direct", "relay"])
async def test_ok__mirrored_survives_the_loss_of_either(world: World, dead: str) -> None:
    a, b = await world.pair(direct=False)
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(direct=other.addr, relay=True))
    if dead == "direct":
        world.lose = lambda source, to, batch: True
    else:
        a.sink.relay = b.sink.relay = lambda peer, packets: None
    a.push(ping(a, b))
    assert b.got() == [ping(a, b)]


async def test_ok__a_peer_relay_wraps_in_geneve(world: World) -> None:
    a, b = await world.pair(direct=False)
    for node, other in ((a, b), (b, a)):
        node.engine.set_path(other.key, PeerPath(direct=other.addr, vni=456))
    packets = [ping(a, b, bytes(100)) for _ in range(3)]
    for packet in packets:
        a.push(packet)
    assert b.got() == packets
    for _, _, batch in world.sent:
        assert all(bytes(segment[:8]).hex() == "00007a120001c800" for segment in batch)
    assert all(report.rx_direct and report.source is None for _, report in b.sink.reports)


async def test_ok__geneve_batches_keep_their_segments(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    a.engine.set_path(b.key, PeerPath(direct=b.addr, vni=9))
    a.push(super_tcp(a.v4, b.v4, bytes(range(256)) * 40, 1200))
    assert world.sent[-1][2].size == 8 + 32 + 1248
    assert len(world.sent[-1][2]) == 9
    assert b.engine.counters().get("bad_ciphertext", 0) == 0


async def test_ok__changing_paths_loses_nothing(world: World) -> None:
    a, b = await world.pair()
    paths = [PeerPath(direct=b.addr), PeerPath(relay=True), PeerPath(direct=b.addr, relay=True), PARKED]
    packets = [ping(a, b, bytes((n,))) for n in range(40)]
    for number, packet in enumerate(packets):
        a.engine.set_path(b.key, paths[number % 4])
        a.push(packet)
    a.engine.set_path(b.key, paths[0])
    world.carry()
    assert b.got() == packets


async def test_ok__relayed_packets_never_move_the_direct_path(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    a.engine.set_path(b.key, PeerPath(relay=True))
    a.push(ping(a, b))
    assert len(b.got()) == 2
    assert b.engine.statistics()[a.key].endpoint == a.addr
    b.push(ping(b, a))
    assert world.sent[-1][1] == a.addr


@pytest.mark.parametrize(
    ("datagram", "goes_up"),
    [
        (b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), True),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), True),
        (DISCO + bytes(40), True),
        (bytes.fromhex("00807a110001c800") + DISCO + bytes(40), True),
        (bytes.fromhex("00007a110001c800") + bytes(60), False),
        (DISCO, False),
        (b"\x05\x00\x00\x00" + bytes(60), False),
        (b"\x04", False),
        (b"\x04\x00\x00\x00" + bytes(60), False),
        (bytes.fromhex("00007a120001c800") + b"\x04\x00\x00\x00" + bytes(60), False),
        (bytes.fromhex("00807a120001c800") + b"\x04\x00\x00\x00" + bytes(60), False),
    ],
)
async def test_ok__datagrams_are_told_apart(world: World, datagram: bytes, goes_up: bool) -> None:
    a, _ = await world.pair()
    world.inject_datagram(STRANGER, a, datagram)
    assert a.sink.datagrams == ([(STRANGER, datagram)] if goes_up else [])
    assert goes_up or sum(a.engine.counters().values()) == 1
    assert a.got() == []


async def test_ok__path_finding_sends_from_the_port(world: World) -> None:
    a, b = await world.pair()
    a.engine.send_datagrams([(b.addr, DISCO + bytes(40))])
    world.carry()
    assert b.sink.datagrams == [(a.addr, DISCO + bytes(40))]


async def test_ok__path_finding_sends_whole_packets(world: World) -> None:
    a, b = await world.pair()
    a.engine.send_whole(b.addr, DISCO + bytes(1400))
    world.carry()
    assert b.sink.datagrams == [(a.addr, DISCO + bytes(1400))]


async def test_fail__a_refused_send_goes_to_the_sink(world: World) -> None:
    a, b = await world.pair()
    for port in a.ports:
        port.closed = True
    a.engine.send_datagrams([(STRANGER, b"x")])
    a.push(ping(a, b))
    assert [(peer, to) for peer, to, _ in a.sink.failures] == [(None, STRANGER), (b.key, b.addr)]


async def test_fail__a_peer_may_not_use_the_source_of_another(world: World) -> None:
    a, b = await world.pair()
    third = world.node(3)
    await b.engine.apply(EngineDiff(upsert=(third.as_peer(),)))
    a.push(udp("100.64.0.77", b.v4, b"of nobody"))
    a.push(udp(third.v4, b.v4, b"of another"))
    assert b.got() == []
    assert b.engine.counters()["wrong_inner_source"] == 2


async def test_fail__no_peer_for_the_destination(world: World) -> None:
    a, b = await world.pair()
    a.push(udp(a.v4, "100.64.0.99", b"x"))
    a.push(b"\x00" * 40)
    assert a.engine.counters() == {"no_peer": 1, "not_ip": 1}
    assert world.sent == []
    assert b.got() == []


async def test_fail__a_peer_that_is_not_configured_gets_no_answer(world: World) -> None:
    a, b = await world.pair()
    await b.engine.apply(EngineDiff(remove=(a.key,)))
    a.push(ping(a, b))
    assert all(source == a.addr for source, _, _ in world.sent)
    assert b.got() == []


async def test_ok__prefixes_move_to_the_last_owner_and_the_longest_wins(world: World) -> None:
    a, b = await world.pair()
    c = world.node(3)
    await c.engine.start()
    await c.engine.apply(EngineDiff(c.private, upsert=(EnginePeer(a.key, (ip_network("0.0.0.0/0"),)),)))
    wide, narrow = "10.0.0.0/8", "10.1.0.0/16"
    await a.engine.apply(EngineDiff(upsert=(b.as_peer(wide), c.as_peer(narrow))))
    for node in (b, c):
        a.engine.set_path(node.key, PeerPath(direct=node.addr))
    await b.engine.apply(EngineDiff(upsert=(a.as_peer("10.0.0.0/8"),)))
    first, second = udp(a.v4, "10.2.0.1", b"wide"), udp(a.v4, "10.1.0.1", b"narrow")
    a.push(first)
    a.push(second)
    assert (b.got(), c.got()) == ([first], [second])
    await a.engine.apply(EngineDiff(upsert=(b.as_peer(wide, narrow),)))
    a.push(second)
    assert (b.got(), c.got()) == ([second], [])


async def test_ok__reset_meets_a_peer_that_restarted(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    b.got()
    again = Node(world, 2)
    world.nodes[b.addr.ip] = world.by_key[b.key] = again
    await again.engine.start()
    await again.engine.apply(EngineDiff(b.private, upsert=(a.as_peer(),)))
    again.engine.set_path(a.key, PeerPath(direct=a.addr))
    a.push(ping(a, b))
    assert again.got() == []
    world.advance(1)
    await a.engine.apply(EngineDiff(reset=(b.key,)))
    a.push(ping(a, b))
    assert again.got() == [ping(a, b)]


async def test_ok__activity_is_told_at_once_then_once_a_second(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    world.advance(3)
    a.sink.reports.clear()
    b.sink.reports.clear()
    start = world.clock.now()
    for _ in range(30):
        a.push(ping(a, b, bytes(72)))
        world.advance(0.1)
    world.advance(5)
    times = [round(at - start, 3) for at, report in b.sink.reports if report.rx_bytes]
    assert times[0] == 0.0
    assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(times))
    assert len(times) == 4
    assert sum(report.rx_bytes for _, report in b.sink.reports) == 30 * 100
    assert sum(report.tx_bytes for _, report in a.sink.reports) == 30 * 100
    assert b.sink.reports[0][1].source == a.addr


async def test_ok__keepalives_count_no_bytes_but_show_the_source(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    world.advance(5)
    a.sink.reports.clear()
    world.advance(10)
    ((_, report),) = a.sink.reports
    assert (report.rx_bytes, report.tx_bytes, report.rx_direct, report.source) == (0, 0, True, b.addr)


async def test_ok__roaming_is_reported_not_followed(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    world.advance(2)
    roamed = AddrPort("192.0.2.1", 9999)
    a._wire = lambda local, to, batch: world.wire(roamed, to, batch)
    a.engine.rebind(9999)
    a.push(ping(a, b))
    assert b.sink.reports[-1][1].source == roamed
    b.push(ping(b, a))
    assert world.sent[-1][1] == a.addr


async def test_ok__rebind_takes_the_wished_then_the_current_then_any(world: World) -> None:
    a, b = await world.pair()
    a.engine.rebind(1234)
    assert {port.port for port in a.engine.local_ports()} == {1234}
    a.engine.rebind()
    assert {port.port for port in a.engine.local_ports()} == {1234}
    a.taken = {999}
    a.engine.rebind(999)
    assert {port.port for port in a.engine.local_ports()} == {1234}
    a.taken = {999, 1234}
    a.engine.rebind(999)
    assert {port.port for port in a.engine.local_ports()} == {50000}
    a.push(ping(a, b))
    assert b.got() == [ping(a, b)]


async def test_ok__a_refused_rebind_is_tried_again(world: World) -> None:
    a, b = await world.pair()
    a.taken = {0, PORT}
    a.engine.rebind()
    assert a.engine.local_ports() == ()
    a.taken = set()
    world.advance(1.5)
    assert len(a.engine.local_ports()) == 2
    a.push(ping(a, b))
    assert b.got() == [ping(a, b)]


async def test_ok__a_super_packet_arrives_whole(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    b.got()
    for source, to in ((a.v4, b.v4), (a.v6, b.v6)):
        sent = super_tcp(source, to, bytes(range(256)) * 60, 1200, flags=0x18, options=bytes(12))
        a.push(sent)
        (received,) = b.tun.sent
        assert bytes(received.data) == bytes(sent.data)
        assert (received.gso_type, received.gso_size, received.header_bytes) == (
            sent.gso_type,
            sent.gso_size,
            sent.header_bytes,
        )
        assert len(world.sent[-1][2]) == 13
        b.tun.sent.clear()


async def test_ok__a_device_without_super_packets_gets_each_packet(world: World) -> None:
    """Old kernels' devices, and those of some containers. The other side's device hands over a super-packet."""
    a = world.node(1)
    world.offloading = False
    b = world.node(2)
    await world.join(a, b)
    a.push(ping(a, b))
    payload = bytes(range(256)) * 60
    a.push(super_tcp(a.v4, b.v4, payload, 1200))
    _, *segments = b.got()
    assert len(segments) == 13
    assert b"".join(packet[40:] for packet in segments) == payload
    assert all(valid(packet) for packet in segments)


async def test_ok__a_super_packet_may_begin_the_session(world: World) -> None:
    a, b = await world.pair()
    payload = bytes(range(256)) * 20
    a.push(super_tcp(a.v4, b.v4, payload, 1000))
    packets = b.got()
    assert b"".join(packet[40:] for packet in packets) == payload


async def test_ok__packets_of_many_sizes_keep_their_order(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    b.got()
    sizes = [10, 1200, 1200, 1200, 300, 5, 900, 900, 20, 1000]
    packets = [ping(a, b, bytes((size % 256,)) * size) for size in sizes]
    for packet in packets:
        a.tun._waiting.append(TunPacket(packet))
    a.push(ping(a, b, b"last"))
    assert b.got() == [*packets, ping(a, b, b"last")]


@pytest.mark.parametrize("seed", range(4))
async def test_ok__loss_and_reordering(seed: int, step: PacketStep) -> None:
    world = World(seed, step)
    a, b = await world.pair()
    world.shuffle = True
    world.lose = lambda source, to, batch: world.randomness.uniform(0, 1) < 0.25
    sent = {a: set(), b: set()}
    for number in range(150):
        source, to = (a, b) if world.randomness.below(2) else (b, a)
        packet = ping(source, to, number.to_bytes(2, "big"))
        sent[source].add(packet)
        source.tun.push(TunPacket(packet))
        world.advance(world.randomness.uniform(0, 8))
    for source, to in ((a, b), (b, a)):
        got = to.got()
        assert len(got) == len(set(got))
        assert set(got) <= sent[source]
        assert len(got) > len(sent[source]) // 2


def lying(packet: bytes, length: int) -> bytes:
    """The packet with another total length (IPv4) or payload length (IPv6) in its header."""
    at = 2 if packet[0] >> 4 == 4 else 4
    return packet[:at] + length.to_bytes(2, "big") + packet[at + 2 :]


async def test_fail__inner_packets_that_lie_about_their_length(world: World) -> None:
    a, b = await world.pair()
    honest = (udp(a.v4, b.v4, bytes(100)), udp(a.v6, b.v6, bytes(100)))
    a.push(honest[0])
    bad = [lying(packet, len(packet) + more) for packet in honest for more in (16, 2000, 65535 - len(packet))]
    bad.append(lying(honest[0], 19))
    for packet in bad:
        a.push(packet)
    for packet in bad * 3:
        a.tun._waiting.append(TunPacket(packet))
    a.push(honest[1])
    assert b.got() == list(honest)
    assert b.engine.counters()["bad_inner_packet"] == 4 * len(bad)


async def test_fail__hostile_datagrams_never_raise_nor_reach_the_host(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    a.push(tcp(a.v4, b.v4, b"x" * 100))
    b.got()
    recorded = [(to, bytes(segment)) for _, to, batch in world.sent for segment in batch]
    random = world.randomness
    for _ in range(600):
        to, datagram = recorded[random.below(len(recorded))]
        broken = bytearray(datagram[: random.below(len(datagram) + 1)] if random.below(2) else datagram)
        for _ in range(random.below(4)):
            if broken:
                broken[random.below(len(broken))] = random.below(256)
        node = world.nodes[to.ip]
        if random.below(2):
            node.ports[0].deliver(STRANGER, one(bytes(broken)))
        else:
            node.engine.inject(a.key if node is b else b.key, [bytes(broken)])
        world.carry()
    assert a.got() == b.got() == []
    a.push(ping(a, b, b"still here"))
    assert ping(a, b, b"still here") in b.got()


async def test_ok__nothing_moves_after_close(world: World) -> None:
    a, b = await world.pair()
    a.push(ping(a, b))
    await b.engine.close()
    a.push(ping(a, b))
    b.engine.inject(a.key, [b"\x04\0\0\0" + bytes(60)])
    b.engine.rebind()
    assert b.tun.closed
    assert len(b.got()) == 1
    world.advance(600)


def test_ok__the_packet_builders_are_right() -> None:
    assert valid(udp("10.0.0.1", "10.0.0.2", b"odd"))
    assert valid(tcp("fd7a::1", "fd7a::2", b"even"))
    assert not valid(udp("10.0.0.1", "10.0.0.2", b"odd")[:-1] + b"x")
