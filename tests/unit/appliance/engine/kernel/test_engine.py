from ipaddress import ip_address, ip_network

import pytest

from appliance.engine.kernel.steering import steering_document, unsteering_document
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.packets import one
from appliance.ports.underlay import PeerPath
from appliance.ports.wireguard_device import DevicePeer, MemoryWireGuardDevice, PeerSetting
from appliance.proto.tsmp import Packet, Ping, encode_packet
from appliance.proto.wireguard.timestamp import encode_tai64n
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePublicKey
from tests.unit.appliance.engine.kernel.conftest import FAR, KEY, PORT, Bench

OTHER = NodePublicKey(b"\x08" * 32)
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(60)


async def test_ok__start_steers_and_close_removes_it(bench: Bench) -> None:
    assert bench.documents == [steering_document(PORT, 50000, "waypost0")]
    assert [str(port) for port in bench.engine.local_ports()] == [f"0.0.0.0:{PORT}", f"[::]:{PORT}"]
    assert bench.engine.inner_port == 50000
    await bench.engine.close()
    assert bench.documents[-1] == unsteering_document()
    assert not bench.device.opened
    assert bench.loopback.closed


async def test_fail__start_that_fails_leaves_nothing() -> None:
    bench = Bench()

    bench.refuse = bench.refuse_copies = True
    with pytest.raises(UnderlayError, match="no raw sockets"):
        await bench.engine.start()
    assert not bench.device.opened
    assert bench.loopback.closed
    assert all(port.closed for port in bench.udp)


async def test_ok__raw_sockets_where_nftables_refuses() -> None:
    bench = Bench()
    bench.refuse = True
    await bench.start()
    assert bench.engine.steering_refused == "no fib"
    assert bench.engine.inner_port == 0
    assert [str(port) for port in bench.engine.local_ports()] == [f"0.0.0.0:{PORT}", f"[::]:{PORT}"]
    bench.copies[0].deliver(FAR, one(DISCO))
    assert bench.sink.datagrams == [(FAR, DISCO)]
    bench.engine.send_datagrams([(FAR, DISCO)])
    assert bench.sent == [(FAR, DISCO)]
    bench.engine.rebind(1234)
    assert bench.device.port == bench.copies[1].local.port == bench.engine.local_ports()[1].port == 1234
    await bench.engine.close()
    assert all(port.closed for port in (*bench.udp, *bench.copies))
    assert bench.engine.counters().get("unsteer_failed", 0) == 0


async def test_ok__device_of_a_killed_run_is_taken_over() -> None:
    bench = Bench()
    old = AddrPort("127.64.0.9", 1)
    bench.device.table = {KEY: DevicePeer(KEY, FAR, 50.0, 1000, 2000), OTHER: DevicePeer(OTHER, old)}
    bench.make(adopt=True)
    await bench.engine.start()
    assert bench.engine.adopted
    assert bench.device.table[KEY].endpoint == FAR
    assert bench.device.table[OTHER].endpoint == AddrPort("127.64.0.2", bench.loopback.port)
    await bench.engine.apply(EngineDiff(replace=True, upsert=(EnginePeer(KEY, (ip_network("10.0.0.0/8"),)),)))
    assert set(bench.device.table) == {KEY}
    assert bench.device.table[KEY].endpoint == FAR
    assert not any(setting.remove and setting.key == KEY for setting in bench.device.settings)


async def test_ok__device_of_another_mesh_is_emptied() -> None:
    bench = Bench()
    bench.device.table = {KEY: DevicePeer(KEY, FAR)}
    await bench.engine.start()
    assert not bench.engine.adopted
    assert bench.device.table == {}


async def test_ok__diff_touches_what_it_names_only(bench: Bench) -> None:
    bench.device.settings.clear()
    peer = EnginePeer(OTHER, (ip_network("100.64.0.8/32"),))
    await bench.engine.apply(EngineDiff(upsert=(peer,)))
    assert bench.device.settings == [
        PeerSetting(OTHER, AddrPort("127.64.0.2", bench.loopback.port), peer.allowed_ips, None, 0)
    ]
    bench.device.settings.clear()
    await bench.engine.apply(EngineDiff(upsert=(peer,), remove=(NodePublicKey(bytes(32)),)))
    assert bench.device.settings == [PeerSetting(OTHER, None, peer.allowed_ips, None, 0)]


async def test_ok__reset_makes_the_peer_anew_where_its_path_is(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.device.settings.clear()
    await bench.engine.apply(EngineDiff(reset=(KEY, OTHER)))
    first, second = bench.device.settings
    assert (first.remove, second.key, second.endpoint) == (True, KEY, FAR)


async def test_ok__greeting_a_peer_makes_the_device_speak(bench: Bench) -> None:
    bench.device.settings.clear()
    await bench.engine.apply(EngineDiff(greet=(KEY, OTHER)))
    assert [(setting.key, setting.keepalive_s) for setting in bench.device.settings] == [(KEY, 1), (KEY, 0)]


async def test_ok__what_is_not_wireguard_goes_up(bench: Bench) -> None:
    bench.udp[0].deliver(FAR, one(DISCO))
    bench.udp[0].deliver(FAR, one(b"\x09nonsense"))
    assert bench.sink.datagrams == [(FAR, DISCO)]
    assert bench.engine.counters()["unknown_datagram"] == 1


async def test_ok__geneve_goes_to_the_device_for_a_known_relay_only(bench: Bench) -> None:
    message = b"\x04\0\0\0" + bytes(60)
    wrapped = bytes.fromhex("00007a120001c800") + message
    bench.udp[0].deliver(FAR, one(wrapped))
    bench.engine.set_path(KEY, PeerPath(FAR, vni=456))
    bench.udp[0].deliver(FAR, one(wrapped))
    assert bench.loopback.given == [(1, message)]
    assert bench.engine.counters()["geneve_unknown"] == 1


async def test_ok__only_the_newest_relays_of_a_peer_are_heard(bench: Bench) -> None:
    for vni in range(1, 7):
        bench.engine.set_path(KEY, PeerPath(FAR, vni=vni))
    for vni in range(1, 7):
        wrapped = bytes.fromhex("00007a12") + vni.to_bytes(3, "big") + b"\0\x04\0\0\0" + bytes((vni,)) * 60
        bench.udp[0].deliver(FAR, one(wrapped))
    assert [packet[4] for _, packet in bench.loopback.given] == [3, 4, 5, 6]
    await bench.engine.apply(EngineDiff(remove=(KEY,)))
    bench.udp[0].deliver(FAR, one(bytes.fromhex("00007a1200000600") + b"\x04\0\0\0" + bytes(60)))
    assert bench.engine.counters()["geneve_unknown"] == 3


class Handler:
    def __init__(self) -> None:
        self.got: list[tuple[NodePublicKey, bytes]] = []

    def first_packet(self, peer: NodePublicKey) -> bytes | None:
        return b"greeting"

    def tsmp_received(self, peer: NodePublicKey, packet: bytes) -> None:
        self.got.append((peer, packet))


async def test_ok__packets_of_the_mesh_belong_to_the_owner_of_their_source(bench: Bench) -> None:
    handler = Handler()
    bench.engine.set_tsmp_handler(handler)
    ours, theirs, behind, nobody = map(ip_address, ("100.64.0.1", "100.64.0.7", "10.0.0.1", "100.64.0.9"))
    good = [encode_packet(Packet(source, ours, Ping(b"12345678"))) for source in (theirs, behind)]
    for packet in good:
        bench.mesh.deliver(packet)
    bench.mesh.deliver(encode_packet(Packet(nobody, ours, Ping(b"12345678"))))
    bench.mesh.deliver(b"")
    assert handler.got == [(KEY, packet) for packet in good]
    assert bench.engine.counters()["wrong_inner_source"] == 2


async def test_ok__new_session_is_greeted(bench: Bench) -> None:
    bench.engine.set_tsmp_handler(Handler())
    bench.change(handshake=100.0)
    bench.read()
    bench.read()
    assert bench.mesh.sent == [b"greeting"]
    assert bench.engine.last_timestamp == encode_tai64n(100 * 10**9)


async def test_ok__rebind_moves_port_and_rules(bench: Bench) -> None:
    bench.engine.rebind()
    assert len(bench.documents) == 1
    bench.device.taken = {999}
    bench.engine.rebind(999)
    assert bench.device.port == PORT
    bench.engine.rebind(1234)
    assert bench.device.port == 1234
    assert bench.documents[-1] == steering_document(1234, 50000, "waypost0")


async def test_ok__rules_that_another_program_flushed_are_placed_again(bench: Bench) -> None:
    (placed,) = bench.documents
    bench.read()
    assert bench.documents == [placed]
    bench.steered = False
    bench.read()
    assert bench.documents == [placed, placed]
    bench.refuse, bench.steered = True, False
    bench.read()
    assert bench.documents == [placed, placed]
    assert bench.engine.counters()["steering_failed"] > 0
    assert bench.engine.counters()["steered_again"] == 1


async def test_fail__rebind_without_its_rules_goes_back(bench: Bench) -> None:
    bench.refuse = True
    bench.engine.rebind(1234)
    assert bench.device.port == PORT
    assert bench.engine.local_ports()[0].port == PORT
    assert bench.engine.counters()["rebind_refused"] == 1
    await bench.engine.close()
    assert bench.engine.counters()["unsteer_failed"] == 1


async def test_fail__refusal_of_the_kernel(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, settings: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(MemoryWireGuardDevice, "set_peers", refuse)
    with pytest.raises(UnderlayError, match="Invalid argument"):
        await bench.engine.apply(EngineDiff(remove=(KEY,)))
    await bench.engine.apply(EngineDiff())


async def test_fail__path_that_the_kernel_refuses_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, settings: object) -> None:
        raise OSError(97, "Address family not supported")

    monkeypatch.setattr(MemoryWireGuardDevice, "set_peers", refuse)
    bench.engine.set_path(KEY, PeerPath(FAR))
    assert [(peer, to) for peer, to, _ in bench.sink.failures] == [(KEY, FAR)]
