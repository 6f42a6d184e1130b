from ipaddress import ip_address

import pytest

from appliance.magicsock.driver import Driver
from appliance.magicsock.machine import Magicsock
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import MemoryUnderlay, PeerActivity, PeerPath
from appliance.proto.disco import CallMeMaybe, Ping, Pong, is_disco
from appliance.proto.stun import is_stun
from appliance.types.addresses import AddrPort
from appliance.types.events import PathChanged
from appliance.types.ids import RegionId
from appliance.types.netmap import NetmapDiff

THEIRS = AddrPort("192.0.2.2", 41641)


class MemoryPool:
    """Keeps what is to be sent."""

    def __init__(self):
        self.sent, self.homes, self.frames = [], [], {}

    def send(self, peer, home, packets):
        self.sent += [(peer, home, packet) for packet in packets]
        return True

    def set_home(self, region):
        self.homes.append(region)

    def last_frame_at(self, region):
        return self.frames.get(region)


class Room:
    """Surroundings that write down."""

    def __init__(self):
        self.events, self.deadlines, self.https, self.names, self.pings = [], [], [], [], []
        self.portals = []
        self.rebound = 0

    def publish(self, event):
        self.events.append(event)

    def interface_addresses(self):
        return [ip_address("192.168.1.5")]

    def resolve(self, names):
        self.names.append(names)

    def measure_https(self, regions):
        self.https += regions

    def find_captive_portal(self, hosts):
        self.portals += hosts

    def rebind_derp(self):
        self.rebound += 1

    def ping_answered(self, answer):
        self.pings.append(answer)

    def relay_asked(self, asked):
        return None

    def timer_changed(self, deadline):
        self.deadlines.append(deadline)


class Driven:
    def __init__(self, rig):
        self.rig, self.clock, self.underlay, self.pool, self.room = (
            rig,
            VirtualClock(),
            MemoryUnderlay(),
            MemoryPool(),
            Room(),
        )
        self.machine = Magicsock(rig.ours, SeededRandomness(1), self.pool.last_frame_at)
        self.driver = Driver(self.machine, self.underlay, self.pool, self.clock, self.room)
        self.underlay.set_sink(self.driver)
        self.node = rig.node()
        self.machine.set_node_key(rig.context.node_key, self.clock.now())
        self.machine.set_derp_map(rig.derp_map(1), self.clock.now())
        self.machine.apply(NetmapDiff(changed={self.node.id: self.node}), self.clock.now())
        self.driver.drain()

    def pings(self):
        return [(to, self.rig.theirs.open(data)[1]) for to, data in self.underlay.datagrams if is_disco(data)]


@pytest.fixture
def driven(rig):
    return Driven(rig)


def test_ok__start_measures_and_dials_home(driven):
    assert driven.pool.homes == [1]
    assert [to.ip for to, data in driven.underlay.datagrams if is_stun(data)] == ["203.0.113.1"]
    assert driven.room.deadlines[-1] is not None


def test_ok__wanted_peer_gets_a_path_and_pings(driven):
    driven.driver.peer_wanted(driven.node.key)
    assert driven.underlay.paths == {driven.node.key: PeerPath(relay=True)}
    assert driven.pings()[0][0] == THEIRS
    assert [e for e in driven.room.events if isinstance(e, PathChanged)]


def test_ok__relay_packets_go_to_the_peer_s_home(driven):
    driven.driver.relay_packets(driven.node.key, [b"\x04data"])
    assert driven.pool.sent == [(driven.node.key, 1, b"\x04data")]


def test_fail__relay_packets_of_a_stranger_go_nowhere(driven, rig):
    driven.driver.relay_packets(rig.node(9).key, [b"\x04data"])
    assert driven.pool.sent == []


def test_ok__derp_splits_disco_from_traffic_in_order(driven, rig):
    disco = rig.from_peer(CallMeMaybe((THEIRS,)))
    driven.driver.derp_received(RegionId(1), driven.node.key, [b"\x04a", disco, b"\x04b"])
    assert driven.underlay.injected == [(driven.node.key, b"\x04a"), (driven.node.key, b"\x04b")]
    assert driven.pings()


def test_fail__traffic_of_a_stranger_is_not_injected(driven, rig):
    driven.driver.derp_received(RegionId(1), rig.node(9).key, [b"\x04a"])
    assert driven.underlay.injected == []


def test_ok__send_that_fails_inside_a_drain_is_handled_after_it(driven):
    def refuse(batch):
        for to, _ in batch:
            driven.driver.send_failed(None, to, OSError(113, "no route"))

    driven.underlay.send_datagrams = refuse
    driven.driver.peer_wanted(driven.node.key)
    assert driven.machine.counters["send_failed"] == 1


def test_ok__pong_and_activity_and_time(driven, rig):
    driven.driver.peer_wanted(driven.node.key)
    ping = driven.pings()[0][1]
    assert isinstance(ping, Ping)
    driven.clock.advance(0.02)
    driven.driver.datagrams_received([(THEIRS, rig.from_peer(Pong(ping.tx_id, THEIRS)))])
    assert driven.underlay.paths[driven.node.key] == PeerPath(direct=THEIRS)
    driven.driver.activity([PeerActivity(driven.node.key, 1, 1, THEIRS, True)])
    driven.clock.advance(50)
    driven.driver.timer()
    assert driven.underlay.paths[driven.node.key] == PeerPath()


def test_ok__link_change_rebinds_engine_and_relays(driven):
    driven.machine.link_changed(True, driven.clock.now())
    driven.driver.drain()
    assert driven.underlay.rebinds == [0]
    assert driven.room.rebound == 1


def test_ok__without_stun_https_is_asked_and_answered(driven):
    for _ in range(7):
        driven.clock.advance(0.5)
        driven.driver.timer()
    assert driven.room.https == [1]
    driven.driver.https_measured(RegionId(1), 0.1)
    assert driven.machine.locator.report.region_latency == {RegionId(1): 0.1}


def test_ok__relay_news_are_taken(driven):
    driven.driver.derp_connected(RegionId(1))
    driven.driver.derp_disconnected(RegionId(1), "reset")
    driven.driver.derp_peer_gone(RegionId(1), driven.node.key, True)
    driven.driver.names_resolved({})
    assert driven.machine.counters["derp_disconnected"] == 1


def test_ok__large_ping_goes_out_whole(driven):
    driven.driver.drain()
    driven.machine._outbox.disco(THEIRS, driven.rig.theirs.public, Ping(bytes(12), None, 1000), whole=True)
    driven.driver.drain()
    assert [(to, len(data) > 1000) for to, data in driven.underlay.whole] == [(THEIRS, True)]
    assert driven.pings() == []
