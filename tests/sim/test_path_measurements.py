"""What is measured of a path beside its latency: how large packets may be, and how long it lives without any."""

import pytest

from appliance.types.events import PathKind
from tests.sim.nat import Filtering, Mapping


def measuring(*nodes):
    for node in nodes:
        node.machine.set_probes(sizes=True, lifetimes=True)
    return nodes


@pytest.mark.parametrize("mtu", [1500, 1420, 1280, 1000])
def test_ok__size_of_the_narrowest_wire_is_known_on_both_sides(story, mtu):
    a, b = measuring(story.site(), story.site())
    a.host.realm.quality.mtu = mtu
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(13)
    wanted = {1500: 1500, 1420: 1400, 1280: 1280, 1000: 0}[mtu]
    assert (a.status(b).mtu, b.status(a).mtu) == (wanted, wanted)


def test_ok__narrower_way_is_noticed_within_minutes(story):
    a, b = measuring(*story.two_direct(every=0.5))
    story.world.run(13)
    assert a.status(b).mtu == 1500
    story.internet.quality.mtu = 1400
    story.world.run(620)
    assert a.status(b).mtu == 1400


def keeper_of(a, b):
    """The node whose part it is, and the other."""
    return (a, b) if a.machine.disco_public_key < b.machine.disco_public_key else (b, a)


def fall_idle(story, a, b):
    """The last packet goes; 45 s later the session is idle."""
    a.quiet.add(b.key)
    b.quiet.add(a.key)
    story.world.run(46)
    assert a.status(b).kind is PathKind.NONE


@pytest.mark.parametrize(("timeout", "survives"), [(120.0, 60), (30.0, 30), (15.0, 10)])
def test_ok__silence_that_nats_allow_is_learned(story, timeout, survives):
    a, b = measuring(story.site(timeout=timeout), story.site(timeout=timeout))
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(5)
    fall_idle(story, a, b)
    keeper, other = keeper_of(a, b)
    story.world.run(150)
    assert keeper.machine._peers.get(other.key).idle.survives_s == survives
    assert other.machine._peers.get(keeper.key).idle.survives_s is None, "the other one only answers"


def pings_while_idle(story, node, seconds):
    """Packets that the node sends by UDP in that time."""
    sent = []
    plain = node.host.send
    node.host.send = lambda *given: (sent.append(story.world.now), plain(*given))
    story.world.run(seconds)
    del node.host.send
    return sent


def test_ok__kept_path_carries_the_first_packet_at_once(story):
    nats = {"mapping": Mapping.ENDPOINT_INDEPENDENT, "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT, "timeout": 65.0}
    a, b = measuring(story.site(**nats), story.site(**nats))
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(5)
    fall_idle(story, a, b)
    keeper, other = keeper_of(a, b)
    story.world.run(200)
    assert len(pings_while_idle(story, keeper, 600)) <= 11, "one in 58 s"
    relayed = keeper.pool.relayed_bytes
    at = story.world.now
    keeper.quiet.clear()
    keeper.talk_to(other, seconds=0.05)
    story.world.run(0.2)
    assert other.heard(keeper, at)
    assert story.world.run_until(lambda: keeper.direct_to(other), 0.2), "without asking the peer to call"
    assert keeper.pool.relayed_bytes >= relayed


def test_ok__path_that_died_while_idle_is_known_to_be_dead(story):
    a, b = measuring(story.site(timeout=120), story.site(timeout=120))
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(5)
    fall_idle(story, a, b)
    keeper, other = keeper_of(a, b)
    story.world.run(150)
    story.nats[other].reboot()
    story.world.run(65)
    assert keeper.machine._peers.get(other.key).best is None
    assert keeper.machine.counters["idle_path_died"] == 1


def test_ok__unused_path_is_let_go(story):
    a, b = measuring(story.site(timeout=120), story.site(timeout=120))
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    fall_idle(story, a, b)
    story.world.run(3600)
    keeper, _ = keeper_of(a, b)
    assert pings_while_idle(story, keeper, 3600) == []
