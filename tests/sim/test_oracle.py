"""The oracle against the table of the spec, worked out by other means, and on terrain that the table does not know."""

from itertools import product

import pytest

from tests.sim.nat import Allocation, Filtering, Mapping
from tests.sim.nat_table import PUBLIC, Side, direct_possible
from tests.sim.oracle import verdicts
from tests.sim.plan import NatPlan, NodePlan, Plan, SitePlan

EASY = Side(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
RESTRICTED = Side(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
HARD = Side(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
KINDS = [Side(mapping, filtering) for mapping, filtering in product(Mapping, Filtering)]
SYMMETRIC = NatPlan(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)


def site(*nats: NatPlan, **more) -> SitePlan:
    return SitePlan(nats, **more)


def possible(*sites: SitePlan, carriers=(), same_site=False) -> bool:
    """Whether the first two nodes meet, in both directions alike."""
    nodes = (NodePlan(0, 11), NodePlan(0 if same_site else 1, 12))
    found = verdicts(Plan(0, sites, nodes, carriers=carriers))
    assert found[0, 1].possible is found[1, 0].possible
    return found[0, 1].possible


@pytest.mark.parametrize(
    ("a", "b", "yes"),
    [(EASY, EASY, True), (EASY, HARD, False), (HARD, HARD, False), (PUBLIC, HARD, True), (RESTRICTED, HARD, True)],
)
def test_ok__the_table_of_the_spec(a, b, yes):
    assert direct_possible(a, b) is direct_possible(b, a) is yes


def test_ok__players_find_what_the_table_says():
    for a, b in product(KINDS, KINDS):
        plans = [
            site(NatPlan(side.mapping, side.filtering, Allocation.RANDOM), subnet=number)
            for number, side in enumerate((a, b), 1)
        ]
        assert possible(*plans) is direct_possible(a, b), (a, b)


def test_ok__chain_of_nats_is_as_hard_as_its_hardest():
    assert possible(site(NatPlan(), NatPlan()), site(NatPlan(), subnet=2))
    assert not possible(site(NatPlan(), SYMMETRIC), site(NatPlan(), subnet=2))


@pytest.mark.parametrize("hairpin", [True, False])
def test_ok__two_customers_of_a_carrier_need_its_hairpin(hairpin):
    carrier = NatPlan(hairpin=hairpin)
    sites = (site(NatPlan(), carrier=0), site(NatPlan(), carrier=0, subnet=2))
    assert possible(*sites, carriers=(carrier,)) is hairpin


def test_ok__what_else_opens_the_way():
    assert possible(site(SYMMETRIC), same_site=True)
    assert not possible(site(SYMMETRIC), site(SYMMETRIC, subnet=2))
    assert possible(site(SYMMETRIC, v6=True), site(SYMMETRIC, v6=True, subnet=2))
    assert possible(site(SYMMETRIC, forwarded=True), site(SYMMETRIC, subnet=2))
    assert possible(site(firewall=Filtering.ADDRESS_AND_PORT_DEPENDENT), site(NatPlan(), subnet=2))
    assert not possible(site(NatPlan(blocks_udp=True)), site())


def test_ok__lan_address_that_somebody_else_has_too():
    plan = Plan(0, (site(NatPlan()), site(NatPlan())), (NodePlan(0, 10), NodePlan(1, 10)))
    assert verdicts(plan)[0, 1].possible
