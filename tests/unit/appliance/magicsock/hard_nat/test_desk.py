"""The desk inside a machine with the twin of side sockets: what a hostile or odd peer can make it do."""

import errno

import pytest

from appliance.magicsock.hard_nat.desk import SideRoute
from appliance.magicsock.scoring import ProvenPath
from appliance.ports.side_ports import SideSocket
from appliance.proto.disco import HardNat, HardNatStep, NatClass, NatMapping, PortRule
from appliance.types.addresses import AddrPort
from tests.sim.nat import Allocation, Filtering, Mapping
from tests.sim.story import Story

HARD = NatClass(NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.RANDOM, "198.51.100.2")
PUBLIC = AddrPort("198.51.100.2", 41641)
SYMMETRIC = {
    "mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT,
    "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT,
    "allocation": Allocation.RANDOM,
}


@pytest.fixture
def story():
    """a behind an ordinary NAT, b behind a hard one; they talk by DERP."""
    made = Story(regions=3)
    a, b = made.site(), made.site(**SYMMETRIC)
    made.world.run(3)
    made.talk(a, b)
    made.world.run(5)
    return made


def say(story, step, number=b"attempt!", nat=HARD):
    a, b = story.nodes
    peer = a.machine._peers.get(b.key)
    a.machine.hard_nat.receive(peer, HardNat(step, number, nat, PUBLIC), story.world.now)
    a.driver.drain()
    return a.machine.counters


def test_fail__words_of_no_attempt_are_counted_and_do_nothing(story):
    for step in (HardNatStep.ACCEPT, HardNatStep.OPENED, HardNatStep.STOP):
        counters = say(story, step)
    assert counters["hard_nat_stale"] == 3
    assert "hard_nat_attempt" not in counters


def test_fail__opened_before_it_was_agreed(story):
    say(story, HardNatStep.OFFER)
    counters = say(story, HardNatStep.OPENED)
    assert counters["hard_nat_stale"] == 1


def test_fail__offers_without_end_are_three_attempts_an_hour(story):
    for number in range(20):
        say(story, HardNatStep.OFFER, number.to_bytes(8, "big"))
        story.world.run(12)
    assert story.nodes[0].machine.counters["hard_nat_attempt"] <= 3


def test_ok__probing_is_slow_and_bounded(story):
    a, b = story.nodes
    sent = []
    forward = a.host.send
    a.host.send = lambda to, data, port=0: (sent.append((story.world.now, to)), forward(to, data, port))
    say(story, HardNatStep.OFFER)
    story.world.run(2)
    say(story, HardNatStep.OPENED)
    at = story.world.now
    story.world.run(5)
    probes = [to for when, to in sent if when >= at and to.ip == PUBLIC.ip]
    assert len(probes) <= 5 * 120
    assert b.host.port


def test_ok__refused_by_the_system_ends_the_attempt(story):
    say(story, HardNatStep.OFFER)
    a = story.nodes[0]

    def refuse(number, to, data):
        raise OSError(errno.ENOBUFS, "no buffers")

    a.side.send = refuse
    a.machine.side_refused(story.world.now)
    a.driver.drain()
    assert a.machine.counters["hard_nat_given_up"] == 1
    story.world.run(10)
    assert len(a.side) == 0


def test_ok__sockets_that_come_too_late_are_given_back(story):
    a = story.nodes[0]
    closed = []
    a.side.close = closed.extend
    a.machine.receive_sockets([SideSocket(77, 50077)], story.world.now)
    a.driver.drain()
    assert closed == [77]


def test_ok__route_by_a_side_socket(story):
    a, b = story.nodes
    peer = a.machine._peers.get(b.key)
    assert a.machine.side_route(b.key, story.world.now) is None
    peer.belief.set(ProvenPath(PUBLIC, 0.02, socket=5))
    assert a.machine.side_route(b.key, story.world.now) == SideRoute(5, PUBLIC, True), "not trusted yet: mirrored"


def test_ok__the_way_that_the_peer_uses_is_taken(story):
    a, b = story.nodes
    desk, now = a.machine.hard_nat, story.world.now
    peer = a.machine._peers.get(b.key)
    desk.shelf.opened(b.key, [SideSocket(5, 50005), SideSocket(6, 50006)])
    peer.belief.set(ProvenPath(PUBLIC, 0.02, socket=5))
    peer.belief.trust_until = now + 100
    desk.pinged(peer, PUBLIC, 5, now)
    desk.pinged(peer, PUBLIC, 6, now + 1)
    assert peer.best.socket == 5, "heartbeats come by ours"
    desk.pinged(peer, PUBLIC, 6, now + 5)
    assert peer.best.socket == 6
    desk.pinged(peer, PUBLIC, 7, now + 30)
    assert peer.best.socket == 6, "no socket of ours"
