"""Two nodes on a network each, and which path they end on."""

from appliance.ports.underlay import PARKED, PeerPath
from appliance.types.events import PathKind
from tests.sim.nat import Filtering, Mapping

SYMMETRIC = {"mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT, "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT}


def test_ok__easy_nats_first_by_derp_then_direct_within_two_seconds(story):
    a, b = story.site(), story.site()
    story.world.run(1)
    started = story.world.now
    story.talk(a, b)
    assert story.direct(a, b, within=2)
    assert [kind for _, kind, _ in a.paths[b.key]] == [PathKind.DERP, PathKind.DIRECT]
    story.world.run(0.2)
    assert b.received[a.key][0][0] - started < 0.05, "the first packet went by DERP at once"


def test_ok__upgrade_loses_nothing(story):
    a, b = story.site(), story.site()
    story.world.run(1)
    story.talk(a, b, every=0.005)
    story.world.run(5)
    assert a.direct_to(b)
    numbers = sorted(int.from_bytes(payload[:8], "big") for _, payload in b.received[a.key])
    assert numbers == list(range(1, len(numbers) + 1))


def test_ok__direct_traffic_leaves_the_relay_alone(story):
    a, _ = story.two_direct()
    story.world.run(1)
    before = a.pool.relayed_bytes
    story.world.run(20)
    assert a.pool.relayed_bytes == before


def test_ok__udp_blocked_at_one_site_stays_on_derp(story):
    a, b = story.site(blocks_udp=True), story.site()
    story.world.run(7)
    story.talk(a, b)
    story.world.run(30)
    assert a.status(b).kind == b.status(a).kind == PathKind.DERP
    assert a.longest_silence(b, story.world.now - 29, story.world.now) < 0.3


def test_ok__two_symmetric_nats_stay_on_derp(story):
    a, b = story.site(**SYMMETRIC), story.site(**SYMMETRIC)
    story.world.run(1)
    story.talk(a, b)
    story.world.run(20)
    assert not a.direct_to(b)
    assert not b.direct_to(a)


def test_ok__symmetric_nat_meets_a_public_node_directly(story):
    a, b = story.site(**SYMMETRIC), story.public()
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b, within=3)


def test_ok__same_lan_takes_the_lan(story):
    lan, _ = story.lan(9, hairpin=True)
    a, b = story.node(lan, "192.168.9.10"), story.node(lan, "192.168.9.11")
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(5)
    assert a.status(b).endpoint == b.host.local


def test_ok__one_sided_traffic_gets_direct_too(story):
    a, b = story.site(), story.site()
    story.world.run(1)
    a.talk_to(b)
    assert story.world.run_until(lambda: a.direct_to(b), 3)
    story.world.run(20)
    assert a.direct_to(b)


def test_ok__idle_pair_is_parked_and_wakes_without_loss(story):
    a, b = story.site(), story.site()
    story.world.run(1)
    a.talk_to(b, seconds=5)
    story.world.run(60)
    assert a.engine.paths[b.key] == PARKED
    assert a.status(b).kind == PathKind.NONE
    at = story.world.now
    a.send(b)
    story.world.run(0.2)
    assert b.heard(a, at)
    assert a.engine.paths[b.key] != PARKED


def test_ok__idle_nodes_are_silent(story):
    story.site(), story.site()
    story.world.run(10)
    sent = []
    for node in story.nodes:
        host_send = node.host.send
        node.host.send = lambda to, data, send=host_send: (sent.append(to), send(to, data))
    story.world.run(120)
    assert sent == []


def test_ok__ping_of_a_person_by_derp_and_direct(story):
    a, b = story.site(), story.site()
    story.world.run(1)
    a.ping(b)
    story.world.run(0.5)
    assert a.pings
    story.talk(a, b)
    assert story.direct(a, b)
    a.pings.clear()
    a.ping(b, 2)
    story.world.run(0.5)
    assert [answer.endpoint for answer in a.pings] == [a.status(b).endpoint]


def test_ok__path_of_a_parked_peer_follows_the_first_relayed_packet(story):
    a, b = story.site(**SYMMETRIC), story.site(**SYMMETRIC)
    story.world.run(1)
    a.send(b)
    story.world.run(0.3)
    b.send(a)
    story.world.run(0.3)
    assert a.received[b.key]
    assert b.engine.paths[a.key] == PeerPath(relay=True)
