from ipaddress import ip_address

import pytest

from appliance.magicsock.locator import Locator
from appliance.magicsock.netcheck.report import NetcheckDone
from appliance.magicsock.outbox import MeasureHttps, Publish, ReadInterfaces, SendDatagram, SetHome
from appliance.magicsock.status import NetInfoChanged, PortMappingSeen
from appliance.proto.stun import BindingResponse, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.events import EndpointsChanged, HomeDerpChanged
from appliance.types.ids import RegionId

SEEN = AddrPort("198.51.100.1", 41641)
LAN = AddrPort("192.168.1.5", 41641)
PORTS = (AddrPort("0.0.0.0", 41641),)


class Located:
    """Answers `ReadInterfaces`, and STUN where a delay is given."""

    def __init__(self, rig):
        self.rig = rig
        self.locator = Locator(rig.context, lambda region: None)
        self.locator.has_peers = True
        self.stun = {}
        self.homes = []
        self.events = []
        self.runs = 0

    def work(self):
        answers = []
        while (action := self.rig.outbox.next_action()) is not None:
            match action:
                case ReadInterfaces():
                    self.locator.receive_interfaces([ip_address("192.168.1.5")], PORTS)
                    self.locator.start_queued(self.rig.now)
                case SendDatagram(to, data):
                    if to.ip in self.stun:
                        answers.append((self.rig.now + self.stun[to.ip], parse_request(data)))
                case SetHome(region):
                    self.homes.append(region)
                case MeasureHttps(regions):
                    for region in regions:
                        self.locator.receive_https(region, None, self.rig.now)
                case Publish(event):
                    self.events.append(event)
        for at, tx_id in sorted(answers):
            self.run(at)
            self.locator.receive_stun(BindingResponse(tx_id, SEEN), self.rig.now)
            self.work()

    def run(self, until):
        while (at := self.locator.next_timer()) is not None and at <= until:
            self.rig.now = max(self.rig.now, at)
            self.locator.handle_timer(self.rig.now)
            self.work()
        self.rig.now = max(self.rig.now, until)

    def done(self):
        return [e for e in self.events if isinstance(e, NetcheckDone)]

    def endpoint_news(self):
        return [
            tuple(e.addr_port for e in event.endpoints) for event in self.events if isinstance(event, EndpointsChanged)
        ]


@pytest.fixture
def located(rig):
    return Located(rig)


def test_ok__only_region_is_home_before_anything_is_measured(rig, located):
    located.locator.set_derp_map(rig.derp_map(7), rig.now)
    located.work()
    assert located.homes == [7]
    assert HomeDerpChanged(RegionId(7)) in located.events


def test_ok__nearest_of_several_becomes_home_after_measuring(rig, located):
    located.stun = {"203.0.113.1": 0.05, "203.0.113.2": 0.01}
    located.locator.set_derp_map(rig.derp_map(1, 2), rig.now)
    located.work()
    assert located.homes == [2]
    assert located.locator.net_info().preferred_derp == 2


def test_ok__nothing_measured_still_gives_a_home(rig, located):
    located.locator.set_derp_map(rig.derp_map(1, 2), rig.now)
    located.work()
    located.run(rig.now + 6)
    assert located.homes
    assert located.homes[0] in (1, 2)


def test_ok__stun_endpoint_is_announced_at_its_first_answer(rig, located):
    located.stun = {"203.0.113.1": 0.02}
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    assert located.endpoint_news() == [(SEEN, LAN)]
    assert located.locator.fresh(rig.now + 27)
    assert not located.locator.fresh(rig.now + 28)


def test_ok__without_answers_local_endpoints_are_announced_after_half_a_second(rig, located):
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    located.run(rig.now + 0.6)
    assert located.endpoint_news() == [(LAN,)]
    assert not located.locator.fresh(rig.now)


def test_ok__same_endpoints_are_announced_once(rig, located):
    located.stun = {"203.0.113.1": 0.02}
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    located.locator.restun(rig.now)
    located.work()
    assert len(located.done()) == 2
    assert len(located.endpoint_news()) == 1


def test_ok__periodic_while_active_and_not_when_idle(rig, located):
    located.stun = {"203.0.113.1": 0.02}
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    located.run(rig.now + 120)
    assert len(located.done()) == 1, "idle"
    for _ in range(60):
        located.locator.active(rig.now)
        located.run(rig.now + 1)
    assert 3 <= len(located.done()) <= 4


def test_ok__requests_during_a_run_become_one_more(rig, located):
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    first = located.locator.restun(rig.now)
    assert located.locator.restun(rig.now) == first == 2
    located.run(rig.now + 10)
    assert [event.run for event in located.done()] == [1, 2]


def test_ok__net_info_is_news_only_when_more_than_latency_changed(rig, located):
    located.stun = {"203.0.113.1": 0.02}
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.work()
    before = [e for e in located.events if isinstance(e, NetInfoChanged)]
    located.stun = {"203.0.113.1": 0.03}
    located.locator.restun(rig.now)
    located.work()
    assert [e for e in located.events if isinstance(e, NetInfoChanged)] == before


def test_ok__home_stays_while_control_cannot_be_told(rig, located):
    located.stun = {"203.0.113.1": 0.2, "203.0.113.2": 0.3}
    located.locator.set_derp_map(rig.derp_map(1, 2), rig.now)
    located.work()
    located.locator.set_control_connected(False)
    located.stun = {"203.0.113.1": 0.9, "203.0.113.2": 0.01}
    located.run(rig.now + 400)
    located.locator.restun(rig.now, full=True)
    located.work()
    assert located.homes == [1]
    located.locator.set_control_connected(True)
    located.locator.restun(rig.now, full=True)
    located.work()
    assert located.homes == [1, 2]


def test_ok__home_that_left_the_map_is_replaced(rig, located):
    located.locator.set_derp_map(rig.derp_map(1), rig.now)
    located.locator.set_derp_map(rig.derp_map(2), rig.now)
    located.work()
    assert located.homes == [1, 0, 2]


def test_fail__no_run_without_map_or_key(rig, located):
    located.locator.restun(rig.now)
    assert rig.outbox.next_action() is None
    rig.context.node_key = None
    located.locator.set_derp_map(rig.derp_map(1, 2), rig.now)
    assert rig.outbox.next_action() is None


def test_ok__a_mapped_port_is_offered_at_once_and_told_to_control(located):
    located.stun["203.0.113.1"] = 0.01
    located.locator.set_derp_map(located.rig.derp_map(1), located.rig.now)
    located.work()
    outside = AddrPort("203.0.113.77", 50001)
    located.locator.set_port_mapping(PortMappingSeen(outside, upnp=False, pmp=True, pcp=True), located.rig.now)
    located.work()
    assert located.endpoint_news()[-1][0] == outside
    told = [event.net_info for event in located.events if isinstance(event, NetInfoChanged)][-1]
    assert (told.have_port_map, told.upnp, told.pmp, told.pcp) == (True, False, True, True)
    runs = len(located.done())
    located.locator.set_port_mapping(PortMappingSeen(outside, upnp=True, pmp=True, pcp=True), located.rig.now)
    located.work()
    assert len(located.done()) == runs, "the same address needs no new measurement"
    located.locator.set_port_mapping(PortMappingSeen(), located.rig.now)
    located.work()
    told = [event.net_info for event in located.events if isinstance(event, NetInfoChanged)][-1]
    assert not told.have_port_map
