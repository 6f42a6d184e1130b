"""Which of several working paths is taken, and when it is left for another."""

from appliance.types.events import PathKind
from tests.sim.nat import Firewall
from tests.sim.network import Host, Quality, Realm
from tests.sim.node import SimNode


def dual_stack(story, v4_delay, v6_delay):
    """Two public nodes that reach each other by IPv4 and by IPv6, over wires of their own."""
    story.internet.quality = Quality(v4_delay)
    story.internet.quality_v6 = Quality(v6_delay)
    for number in (1, 2):
        host = Host(story.world, story.internet, f"192.0.2.{number}", ip6=f"2001:db8:{number}::1")
        story.nodes.append(SimNode(story.world, f"n{number}", number, host, story.derp, story.control))
    a, b = story.nodes
    story.world.run(1)
    story.talk(a, b)
    assert story.direct(a, b)
    story.world.run(5)
    return a, b


def in_use(a, b):
    return next(each for each in a.status(b).candidates if each.best)


def test_ok__ipv6_is_taken_when_it_is_about_as_fast(story):
    a, b = dual_stack(story, 0.020, 0.021)
    assert in_use(a, b).endpoint.is_v6


def test_ok__clearly_faster_ipv4_is_taken(story):
    a, b = dual_stack(story, 0.020, 0.030)
    assert not in_use(a, b).endpoint.is_v6
    words = {each.endpoint.is_v6: each.why for each in a.status(b).candidates}
    assert words[False] == "in use"
    assert "ms slower" in words[True] or words[True].startswith("answered before")


def test_ok__lossy_path_loses_to_a_slightly_slower_clean_one_and_stays_left(story):
    a, b = dual_stack(story, 0.020, 0.030)
    story.internet.quality.loss = 0.1
    story.world.run(180)
    moved = [endpoint.is_v6 for _, kind, endpoint in a.paths[b.key] if kind == PathKind.DIRECT]
    assert in_use(a, b).endpoint.is_v6
    assert moved.count(True) <= 2, "it does not go to and fro"


def test_ok__far_slower_path_is_no_refuge_from_little_loss(story):
    a, b = dual_stack(story, 0.020, 0.150)
    story.internet.quality.loss = 0.02
    story.world.run(180)
    assert not in_use(a, b).endpoint.is_v6


def test_ok__path_without_loss_is_never_surveyed(story):
    a, b = dual_stack(story, 0.020, 0.030)
    before = len(a.paths[b.key])
    other = next(each for each in a.status(b).candidates if not each.best)
    story.world.run(50)
    later = next(each for each in a.status(b).candidates if not each.best)
    assert later.endpoint == other.endpoint
    assert later.ping_age_s > 40, "what is not used costs nothing"
    assert len(a.paths[b.key]) == before


def test_ok__firewalled_ipv6_opens_from_both_sides(story):
    for number in (1, 2):
        lan = Realm(story.world, Quality(0.001))
        host = Host(story.world, lan, f"192.168.{number}.2", ip6=f"2001:db8:{number}::1")
        Firewall(story.world, lan, story.internet).guard(f"2001:db8:{number}::1")
        story.nodes.append(SimNode(story.world, f"n{number}", number, host, story.derp, story.control))
    a, b = story.nodes
    story.world.run(7)
    story.talk(a, b)
    assert story.direct(a, b, within=3)
    assert in_use(a, b).endpoint.is_v6
