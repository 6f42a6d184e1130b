"""Things break, one at a time; how long until packets flow again."""

from appliance.ports.underlay import PeerPath
from appliance.types.events import PathKind
from tests.sim.nat import Nat
from tests.sim.network import Host, Quality, Realm


def silence_after(story, a, b, seconds=15.0):
    """Longest silence both ways in that time from now."""
    at = story.world.now
    story.world.run(seconds)
    return max(a.longest_silence(b, at, story.world.now), b.longest_silence(a, at, story.world.now))


def test_ok__dead_path_with_traffic_is_left_in_three_seconds(story):
    a, b = story.two_direct()
    story.world.run(10.37)
    story.nats[a].blocks_udp = True
    assert silence_after(story, a, b) < 3.0
    assert a.status(b).kind == b.status(a).kind == PathKind.DERP


def test_ok__path_dead_in_one_direction_is_left_in_three_seconds(story):
    a, b = story.two_direct()
    story.world.run(10.71)
    b.host.blackholed.add("198.51.100.1")
    assert silence_after(story, a, b) < 3.0


def test_ok__idle_dead_path_is_left_in_seven_seconds(story):
    a, b = story.two_direct(every=30)
    story.world.run(35)
    story.nats[a].blocks_udp = True
    story.world.run(7)
    assert a.engine.paths[b.key].relay
    assert b.engine.paths[a.key].relay


def test_ok__path_comes_back_direct_when_the_network_mends(story):
    a, b = story.two_direct()
    story.nats[a].blocks_udp = True
    story.world.run(10)
    assert not a.direct_to(b)
    story.nats[a].blocks_udp = False
    assert story.direct(a, b, within=6)


def test_ok__nat_that_forgets_everything(story):
    a, b = story.two_direct()
    story.world.run(3.3)
    story.nats[a].reboot()
    assert silence_after(story, a, b) < 3.0
    assert a.direct_to(b)
    assert b.direct_to(a)


def test_ok__roaming_to_another_network(story):
    a, b = story.two_direct()
    story.world.run(3)
    realm = Realm(story.world, Quality(0.005))
    Nat(story.world, realm, story.internet, "198.51.100.99")
    a.host.move(realm, "10.0.0.7")
    a.link_changed()
    assert silence_after(story, a, b) < 3.0
    assert str(b.status(a).endpoint).startswith("198.51.100.99")


def test_ok__roaming_that_nobody_reports(story):
    a, b = story.two_direct()
    story.world.run(3)
    realm = Realm(story.world, Quality(0.005))
    Nat(story.world, realm, story.internet, "198.51.100.98")
    a.host.move(realm, "10.0.0.8")
    assert silence_after(story, a, b) < 3.0
    assert a.direct_to(b)


def test_ok__restart_with_a_new_disco_key(story):
    a, b = story.two_direct()
    story.world.run(3)
    old = b.machine.disco_public_key
    b.restart()
    assert b.machine.disco_public_key != old
    assert silence_after(story, a, b) < 3.0
    assert story.direct(a, b, within=5)


def test_ok__relay_that_falls_silent_does_not_hurt_a_direct_pair(story):
    a, b = story.two_direct()
    story.derp.regions[900].down = True
    for node in (a, b):
        node.pool.break_all("reset")
    assert silence_after(story, a, b) < 0.5
    assert a.engine.paths[b.key] == PeerPath(direct=a.status(b).endpoint)


def test_ok__lossy_path_stays_direct(story):
    a, b = story.two_direct()
    story.internet.quality.loss = 0.03
    story.world.run(60)
    away = [kind for _, kind, _ in a.paths[b.key]].count(PathKind.DERP)
    assert away <= 2
    assert a.direct_to(b)


def test_ok__address_change_on_the_same_lan(story):
    a, b = story.two_direct()
    story.world.run(3)
    a.host.move(a.host.realm, "192.168.1.77")
    a.link_changed(major=True)
    assert silence_after(story, a, b) < 3.0
    assert a.direct_to(b)


def test_fail__stranger_with_disco_magic_moves_nothing(story):
    a, b = story.two_direct()
    stranger = Host(story.world, story.internet, "192.0.2.200")
    packets = []
    forward = a.host.send
    a.host.send = lambda to, data: (packets.append(data), forward(to, data))
    story.world.run(4)
    disco = [data for data in packets if data.startswith(b"TS")]
    assert disco
    before = b.status(a)
    for data in disco:
        stranger.send(a.status(b).endpoint, data)
    story.world.run(1)
    assert b.status(a).endpoint == before.endpoint
    assert not [c for c in b.status(a).candidates if c.endpoint.ip == stranger.ip]
