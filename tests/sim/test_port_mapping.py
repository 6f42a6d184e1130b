"""A router that maps ports makes two hard NATs meet; it restarts, and the mapping comes back."""

from tests.sim.nat import Allocation, Filtering, Mapping
from tests.sim.port_mapping import MappingRouter, SimPortMapper

HARD = {
    "mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT,
    "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT,
    "allocation": Allocation.RANDOM,
}


def mapped_site(story):
    node = story.site(**HARD)
    router = f"{node.host.ip.rpartition('.')[0]}.1"
    MappingRouter(story.world, node.host.realm, router, story.nats[node])
    return node, SimPortMapper(story.world, node, node.host, router)


def test_ok__two_hard_nats_meet_when_one_maps_ports(story):
    a, _ = mapped_site(story)
    b = story.site(**HARD)
    story.world.run(3)
    story.talk(a, b)
    assert story.direct(a, b, within=3)
    assert a.machine.locator.net_info().have_port_map


def test_ok__restarted_router_is_asked_again_within_a_minute(story):
    a, _ = mapped_site(story)
    b = story.site(**HARD)
    story.world.run(3)
    story.talk(a, b)
    assert story.direct(a, b, within=3)
    story.world.run(10)
    story.nats[a].reboot()
    at = story.world.now
    story.world.run(3)
    assert b.longest_silence(a, at, story.world.now) < 3.0
    assert story.direct(a, b, within=70)


def test_ok__mapping_is_given_up_with_the_network(story):
    a, mapper = mapped_site(story)
    story.world.run(3)
    assert a.machine.locator.net_info().have_port_map
    mapper.network_lost()
    assert not a.machine.locator.net_info().have_port_map
