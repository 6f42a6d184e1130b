"""Routers that map ports, by each protocol: hard NATs meet, leases are renewed, a lost router is asked again."""

import pytest

from appliance.portmap.mapping import Kind
from appliance.types.addresses import AddrPort
from tests.sim.home_router import HomeRouter
from tests.sim.nat import Allocation, Filtering, Mapping
from tests.sim.port_mapping import SimPortMapper

HARD = {
    "mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT,
    "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT,
    "allocation": Allocation.RANDOM,
}
EACH = pytest.mark.parametrize("kind", list(Kind))


class MappedSite:
    """A hard NAT that maps ports, and the node behind it."""

    def __init__(self, story, *kinds: Kind, longest_s: float = 7200.0) -> None:
        self.world = story.world
        self.node = story.site(**HARD)
        self.nat = story.nats[self.node]
        ip = f"{self.node.host.ip.rpartition('.')[0]}.1"
        self.router = HomeRouter(story.world, self.node.host.realm, ip, self.nat, kinds, longest_s)
        self.mapper = SimPortMapper(story.world, self.node, self.router)

    @property
    def mapped(self) -> bool:
        """Whether the port that the node believes in leads to it."""
        mapping = self.mapper.machine.result.mapping
        return mapping is not None and self.nat._forward_of(mapping.external.port) == self.node.host.local

    @property
    def kind(self) -> Kind | None:
        mapping = self.mapper.machine.result.mapping
        return mapping.kind if mapping is not None else None


def talk_directly(story, a, b):
    story.world.run(3)
    story.talk(a, b)
    assert story.direct(a, b, within=3)


@EACH
def test_ok__two_hard_nats_meet_when_one_maps_ports(story, kind):
    site, b = MappedSite(story, kind), story.site(**HARD)
    talk_directly(story, site.node, b)
    info = site.node.machine.locator.net_info()
    assert info.have_port_map
    assert (info.pcp, info.pmp, info.upnp) == (kind is Kind.PCP, kind is Kind.NAT_PMP, kind is Kind.UPNP)


def test_ok__the_best_protocol_is_taken_and_the_next_when_that_one_refuses(story):
    site = MappedSite(story, *Kind)
    site.world.run(3)
    assert site.kind is Kind.PCP
    other = MappedSite(story, *Kind)
    other.router._nonces[other.node.host.local] = b"somebody els"
    other.world.run(6)
    assert other.kind is Kind.NAT_PMP
    assert other.mapped


@pytest.mark.parametrize(("kind", "within"), [(Kind.PCP, 3), (Kind.NAT_PMP, 70)])
def test_ok__restarted_router_is_asked_again(story, kind, within):
    """By PCP it tells everybody; by NAT-PMP its epoch shows it, which is asked for once a minute."""
    site, b = MappedSite(story, kind), story.site(**HARD)
    talk_directly(story, site.node, b)
    story.world.run(10)
    site.nat.reboot()
    assert not site.mapped
    at = story.world.now
    story.world.run(3)
    assert b.longest_silence(site.node, at, story.world.now) < 3.0
    assert story.world.run_until(lambda: site.mapped, within)
    assert story.direct(site.node, b, within=15)


def test_ok__restarted_upnp_router_is_asked_again_in_ten_minutes(story):
    """It has no epoch: only asking again shows it."""
    site = MappedSite(story, Kind.UPNP)
    site.world.run(5)
    site.nat.reboot()
    assert not site.mapped
    site.world.run(600)
    assert site.mapped


@EACH
def test_ok__short_leases_are_renewed_for_an_hour(story, kind):
    """UPnP is asked for two hours and renewed every ten minutes; the others as their router says, two minutes here."""
    site = MappedSite(story, kind, longest_s=120.0)
    site.world.run(5)
    external = site.mapper.machine.result.mapping.external
    for _ in range(240):
        site.world.run(15)
        assert site.mapped
    assert site.mapper.machine.result.mapping.external == external


@pytest.mark.parametrize("kind", [Kind.PCP, Kind.NAT_PMP])
def test_ok__router_that_falls_silent_is_given_up_and_found_again(story, kind):
    site = MappedSite(story, kind)
    site.world.run(5)
    site.router.stopped = True
    site.world.run(60)
    assert site.kind is kind, "silence alone takes nothing away at once"
    site.world.run(300)
    assert site.kind is None
    assert not site.node.machine.locator.net_info().have_port_map
    site.router.stopped = False
    site.world.run(610)
    assert site.mapped


@EACH
def test_ok__port_is_given_back_when_the_gateway_stops(story, kind):
    site = MappedSite(story, kind)
    site.world.run(5)
    assert site.nat._leases
    site.mapper.release()
    site.world.run(1)
    assert not site.nat._leases


def test_ok__port_that_somebody_has_is_replaced_by_another(story):
    """UPnP: the router says conflict, and a port by chance is asked for."""
    site = MappedSite(story, Kind.UPNP)
    site.world.run(5)
    taken = site.mapper.machine.result.mapping.external.port
    site.nat.reboot()
    site.nat.forward(taken, AddrPort("192.168.1.99", 41641))
    site.world.run(600)
    assert site.mapped
    assert site.mapper.machine.result.mapping.external.port != taken


@EACH
def test_ok__mapping_is_given_up_with_the_network(story, kind):
    site = MappedSite(story, kind)
    site.world.run(3)
    assert site.node.machine.locator.net_info().have_port_map
    site.mapper.network_lost()
    assert not site.node.machine.locator.net_info().have_port_map
