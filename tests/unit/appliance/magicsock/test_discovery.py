import pytest

from appliance.magicsock.belief import Belief
from appliance.magicsock.discovery import Discovery
from appliance.magicsock.scoring import ProvenPath
from appliance.magicsock.timing import DISCOVERY_INTERVAL, UPGRADE_INTERVAL
from appliance.proto.disco import CallMeMaybe
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId

THEIRS = AddrPort("192.0.2.2", 41641)
OTHER = AddrPort("198.51.100.9", 5000)


@pytest.fixture
def discovery(rig):
    node = rig.node()
    made = Discovery(node, rig.context, Belief(node.key, rig.context))
    made.take_netmap_endpoints(rig.now)
    return made


def test_ok__each_candidate_is_pinged_at_most_every_five_seconds(rig, discovery):
    discovery.full_ping(rig.now, call_me_maybe=False)
    assert [sent.to for sent in rig.take()] == [THEIRS]
    discovery.full_ping(rig.now + DISCOVERY_INTERVAL - 1, call_me_maybe=False)
    assert rig.take() == []
    discovery.full_ping(rig.now + DISCOVERY_INTERVAL - 1, call_me_maybe=False, at_once=True)
    assert len(rig.take()) == 1


def test_ok__peer_is_asked_to_call_while_a_relay_reaches_it(rig, discovery):
    discovery.seek(rig.now)
    assert rig.context.call_me_maybe_wanted == [discovery.node.key]
    assert discovery.search.next_at == rig.now + 0.7


def test_ok__reverse_route_reaches_a_peer_without_home(rig):
    node = rig.node(home_derp=RegionId(0))
    lonely = Discovery(node, rig.context, Belief(node.key, rig.context))
    assert not lonely.relay_region
    lonely.reverse_region = RegionId(7)
    assert lonely.relay_region == 7


def test_ok__list_of_the_peer_replaces_its_earlier_one(rig, discovery):
    discovery.take_call_me_maybe(CallMeMaybe((OTHER,)), rig.now)
    assert OTHER in discovery.candidates
    discovery.take_call_me_maybe(CallMeMaybe(()), rig.now + 2)
    assert OTHER not in discovery.candidates
    assert THEIRS in discovery.candidates


def test_ok__near_path_is_looked_past_only_once(rig, discovery):
    near, far = ProvenPath(THEIRS, 0.001), ProvenPath(THEIRS, 0.02)
    discovery.look_for_better(near, rig.now)
    assert len(rig.take()) == 1
    discovery.look_for_better(near, rig.now + UPGRADE_INTERVAL)
    assert rig.take() == []
    discovery.look_for_better(far, rig.now + UPGRADE_INTERVAL)
    assert len(rig.take()) == 1


def test_fail__silent_toward_an_expired_peer(rig):
    node = rig.node(expired=True)
    gone = Discovery(node, rig.context, Belief(node.key, rig.context))
    gone.take_netmap_endpoints(rig.now)
    gone.seek(rig.now)
    gone.probe(THEIRS, rig.now)
    assert rig.take() == []
