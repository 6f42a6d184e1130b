from appliance.engine.kernel.peers import PeerTable, proxied
from appliance.engine.kernel.watch import BUSY_S, IDLE_S, ROAM_TRUST_S, DeviceWatch
from appliance.ports.engine import EngineDiff
from appliance.ports.underlay import PARKED, PeerPath
from appliance.ports.wireguard_device import DevicePeer
from appliance.types.addresses import AddrPort
from tests.unit.appliance.engine.kernel.conftest import FAR, KEY, Bench

ROAMED = AddrPort("192.0.2.77", 5)


async def test_ok__direct_traffic_is_reported_with_its_source(bench: Bench) -> None:
    bench.read()
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.read()
    bench.change(rx=1440, tx=128 + 148)
    bench.read()
    ((_, report),) = bench.sink.reports
    assert (report.rx_bytes, report.tx_bytes, report.source, report.rx_direct) == (1440, 128, FAR, True)


async def test_ok__what_came_by_relay_is_not_direct(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.read()
    bench.engine.inject(KEY, [bytes(1440)])
    bench.change(rx=1440)
    bench.read()
    ((_, report),) = bench.sink.reports
    assert (report.rx_bytes, report.source, report.rx_direct) == (1440, None, False)


async def test_ok__keepalive_shows_the_source_and_counts_nothing(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.read()
    bench.change(rx=32, endpoint=ROAMED)
    bench.read()
    ((_, report),) = bench.sink.reports
    assert (report.rx_bytes, report.tx_bytes, report.source, report.rx_direct) == (0, 0, ROAMED, True)
    assert bench.endpoint == ROAMED


async def test_ok__parked_peer_that_comes_directly_is_answered_directly_until_its_path_was_tried(bench: Bench) -> None:
    bench.change(rx=1440, endpoint=FAR)
    bench.read()
    bench.engine.set_path(KEY, PeerPath(relay=True))
    assert bench.endpoint == FAR
    bench.read(ROAM_TRUST_S + 0.5)
    bench.read()
    assert proxied(bench.endpoint)


async def test_ok__proven_address_stays(bench: Bench) -> None:
    bench.change(rx=1440, endpoint=FAR)
    bench.read()
    bench.engine.set_path(KEY, PeerPath(relay=True))
    bench.engine.set_path(KEY, PeerPath(FAR))
    for _ in range(4):
        bench.read()
    assert bench.endpoint == FAR


async def test_ok__leaving_a_direct_path_is_at_once(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    for path in (PeerPath(FAR, relay=True), PeerPath(relay=True), PARKED):
        bench.engine.set_path(KEY, PeerPath(FAR))
        assert bench.endpoint == FAR
        bench.engine.set_path(KEY, path)
        assert proxied(bench.endpoint)


async def test_ok__device_that_went_back_to_the_proxy_is_set_again(bench: Bench) -> None:
    bench.engine.set_path(KEY, PeerPath(FAR))
    bench.read()
    bench.change(endpoint=AddrPort("127.64.0.1", bench.loopback.port))
    bench.read()
    assert bench.endpoint == FAR


async def test_ok__a_silent_peer_that_roamed_while_parked_is_parked_again(bench: Bench) -> None:
    bench.change(rx=148, endpoint=FAR)
    bench.read()
    bench.read(ROAM_TRUST_S + 0.5)
    bench.read()
    assert proxied(bench.endpoint)


async def test_ok__peer_made_anew_counts_on(bench: Bench) -> None:
    bench.change(rx=1440, handshake=100.0)
    bench.read()
    await bench.engine.apply(EngineDiff(reset=(KEY,)))
    assert bench.engine.statistics()[KEY].rx_bytes == 1440
    bench.change(rx=64)
    bench.read()
    assert bench.engine.statistics()[KEY].rx_bytes == 1504


def test_ok__pause_follows_work_and_cost() -> None:
    table = PeerTable()
    record = table.add(KEY)
    watch = DeviceWatch(table)
    watch.begin(0.0)
    watch.observe([DevicePeer(KEY)], 0.0)
    assert watch.pause(0.0) == IDLE_S
    record.path = PeerPath(FAR)
    watch.observe([DevicePeer(KEY, FAR)], 0.0)
    assert watch.pause(0.0) == watch.soon(0.0) == BUSY_S
    watch.observe([DevicePeer(KEY, FAR)], 0.5)
    assert watch.pause(0.5) == watch.soon(0.5) == 10.0


async def test_ok__paths_that_change_all_the_time_put_no_reading_off(bench: Bench) -> None:
    bench.read()
    bench.change(rx=1440)
    for number in range(40):
        bench.engine.set_path(KEY, PeerPath(AddrPort("192.0.2.9", 41641 + number % 2)))
        bench.read(0.1)
    assert [report.rx_bytes for _, report in bench.sink.reports] == [1440]
