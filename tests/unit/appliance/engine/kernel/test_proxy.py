from appliance.engine.kernel.proxy import equal_runs
from appliance.ports.underlay import PARKED, PeerPath
from tests.unit.appliance.engine.kernel.conftest import FAR, KEY, Bench

INITIATION = b"\x01\0\0\0" + bytes(144)
DATA = b"\x04\0\0\0" + bytes(92)


async def test_ok__first_packet_wakes_a_parked_peer_and_goes_with_its_path(bench: Bench) -> None:
    bench.loopback.deliver(1, INITIATION)
    bench.loopback.deliver(1, DATA)
    assert bench.sink.wanted == [KEY]
    bench.engine.set_path(KEY, PeerPath(relay=True))
    assert bench.sink.relayed == [(KEY, INITIATION), (KEY, DATA)]


async def test_ok__only_the_newest_initiation_is_kept_and_the_peer_is_wanted_once_a_second(bench: Bench) -> None:
    bench.loopback.deliver(1, INITIATION)
    newer = INITIATION[:-1] + b"\x01"
    bench.loopback.deliver(1, newer)
    assert bench.sink.wanted == [KEY]
    bench.world.advance(1.1)
    bench.loopback.deliver(1, DATA)
    assert bench.sink.wanted == [KEY, KEY]
    bench.engine.set_path(KEY, PeerPath(relay=True))
    assert [packet for _, packet in bench.sink.relayed] == [newer, DATA]


async def test_ok__keepalive_wakes_nobody(bench: Bench) -> None:
    bench.loopback.deliver(1, b"\x04\0\0\0" + bytes(28))
    assert bench.sink.wanted == []
    assert bench.engine.counters()["parked_keepalive"] == 1


async def test_ok__mirrored_goes_both_ways_and_geneve_is_wrapped(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR, relay=True))
    bench.loopback.deliver(1, DATA)
    assert bench.sent == [(FAR, DATA)]
    assert bench.sink.relayed == [(KEY, DATA)]
    bench.engine.set_path(KEY, PeerPath(FAR, vni=456))
    bench.loopback.deliver(1, DATA)
    assert bench.sent[-1] == (FAR, bytes.fromhex("00007a120001c800") + DATA)


async def test_ok__late_packets_of_a_direct_peer_go_on_and_the_device_is_set_again(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    assert bench.endpoint == FAR
    bench.loopback.deliver(1, DATA)
    assert bench.sent == [(FAR, DATA)]
    settings = len(bench.device.settings)
    bench.world.advance(0.2)
    bench.loopback.deliver(1, DATA)
    assert len(bench.device.settings) == settings + 1


async def test_ok__relayed_packets_bear_the_direct_source_while_direct(bench: Bench) -> None:
    bench.engine.inject(KEY, [DATA])
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.engine.inject(KEY, [DATA])
    bench.engine.set_path(KEY, PARKED)
    bench.engine.inject(KEY, [DATA])
    assert bench.loopback.given == [(1, DATA), (FAR, DATA), (1, DATA)]


async def test_fail__packet_for_an_address_of_nobody(bench: Bench) -> None:
    bench.loopback.deliver(9, DATA)
    assert bench.engine.counters()["proxy_unknown_peer"] == 1


def test_ok__runs_of_one_length_keep_their_order() -> None:
    packets = [b"a" * 3, b"b" * 3, b"c", b"d" * 3, b"e" * 3]
    runs = list(equal_runs(packets))
    assert [bytes(packet) for run in runs for packet in run] == packets
    assert [len(run) for run in runs] == [2, 1, 2]
    assert [len(run) for run in equal_runs([b"x"] * 130)] == [64, 64, 2]
    assert list(equal_runs([])) == []
