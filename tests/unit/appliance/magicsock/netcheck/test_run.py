import pytest

from appliance.magicsock.netcheck.plan import initial_plan
from appliance.magicsock.netcheck.run import NetcheckRun
from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import BindingResponse, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId

SEEN = AddrPort("198.51.100.1", 41641)


class Running:
    def __init__(self, rig, *regions, full=True, v6=False):
        self.addresses = {(f"{n}a", False): AddrPort(f"203.0.113.{n}", 3478) for n in regions}
        if v6:
            self.addresses |= {(f"{n}a", True): AddrPort(f"2001:db8::{n}", 3478) for n in regions}
        derp_map = rig.derp_map(*regions)
        plan = initial_plan(derp_map, True, False)
        self.run = NetcheckRun(plan, self.addresses, SeededRandomness(1), 100.0, full=full)

    def requests(self, now):
        return {to.ip: parse_request(data) for to, data in self.run.handle_timer(now)}


@pytest.fixture
def running(rig):
    return lambda *regions, **options: Running(rig, *regions, **options)


def test_ok__answer_gives_latency_and_mapping_and_ends_the_set(running):
    r = running(1)
    sent = r.requests(100.0)
    assert r.run.receive(BindingResponse(sent["203.0.113.1"], SEEN), 100.03)
    assert r.run.done(100.03)
    report = r.run.report()
    assert report.udp
    assert report.ipv4
    assert report.global_v4 == SEEN
    assert report.region_latency == {RegionId(1): pytest.approx(0.03)}
    assert report.mapping_varies_by_dest_ip is None


def test_ok__retries_while_unanswered_then_gives_up_at_three_seconds(running):
    r = running(1)
    counts = [len(r.requests(at)) for at in (100.0, 100.1, 100.2, 100.3)]
    assert counts == [1, 1, 1, 0]
    assert r.run.next_timer() == 103.0
    assert not r.run.done(102.9)
    assert r.run.done(103.0)
    assert not r.run.report().udp


@pytest.mark.parametrize(("second", "varies"), [(SEEN, False), (AddrPort("198.51.100.1", 50000), True)])
def test_ok__mapping_varies_when_two_servers_see_different_ports(running, second, varies):
    r = running(1, 2)
    sent = r.requests(100.0)
    r.run.receive(BindingResponse(sent["203.0.113.1"], SEEN), 100.01)
    r.run.receive(BindingResponse(sent["203.0.113.2"], second), 100.02)
    assert r.run.report().mapping_varies_by_dest_ip is varies


def test_fail__unknown_and_repeated_answers(running):
    r = running(1)
    tx_id = r.requests(100.0)["203.0.113.1"]
    assert not r.run.receive(BindingResponse(b"z" * 12, SEEN), 100.01)
    assert r.run.receive(BindingResponse(tx_id, SEEN), 100.02)
    assert not r.run.receive(BindingResponse(tx_id, SEEN), 100.03)


def test_ok__third_region_ends_the_run_soon(running):
    r = running(1, 2, 3, 4)
    sent = r.requests(100.0)
    for n, at in ((1, 100.01), (2, 100.02), (3, 100.03)):
        r.run.receive(BindingResponse(sent[f"203.0.113.{n}"], SEEN), at)
    assert r.run.next_timer() <= 100.1
    assert r.run.done(100.09 + 0.001)


def test_ok__sets_without_any_address_are_not_waited_for(running):
    r = running(1)
    r.addresses.clear()
    again = NetcheckRun((), {}, SeededRandomness(1), 100.0, full=True)
    assert again.done(100.0)


def test_ok__https_latency_fills_what_udp_left_open(running):
    report = running(1).run.report({RegionId(1): 0.2})
    assert not report.udp
    assert report.region_latency == {RegionId(1): 0.2}
