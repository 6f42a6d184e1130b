"""Whole nodes: the real control server and clients in a simulated network."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from control.server.machine import MachineApi
from tests.sim.nat import Allocation, Mapping, Nat
from tests.sim.network import Quality, Realm
from tests.sim.plan import FaultKind, NatPlan, NodePlan, Plan, SitePlan
from tests.sim.scenario import Network, play, report

pytestmark = pytest.mark.timeout(60)

PLAN = Plan(
    7,
    (SitePlan((NatPlan(),)), SitePlan((NatPlan(),), subnet=2)),
    (NodePlan(0, 11), NodePlan(1, 12)),
    control=True,
)


@pytest.fixture
def network():
    with ExitStack() as stack:
        made = Network(PLAN, stack)
        made.world.run(made.start_s)
        made.talk()
        made.world.run(4)
        yield made
        assert not made.control.troubles
    print(made.world.timeline.text())


def test_ok__nodes_log_in_meet_and_stay_who_they_are(network):
    a, b = network.nodes
    assert a.direct_to(b)
    assert b.direct_to(a)
    assert network.control.away == []
    before = network.control.client(a.id).netmap.self_node
    assert before.short_name == "n1"
    a.restart()
    network.world.run(network.start_s)
    assert network.control.client(a.id).netmap.self_node.addresses == before.addresses
    assert b.direct_to(a)


def test_ok__control_that_restarts_disturbs_no_path_and_goes_on_telling(network):
    a, b = network.nodes
    at = network.world.now
    network.control.interrupt(2.0)
    network.world.run(0.5)
    assert network.control.away == ["n1", "n2"]
    network.world.run(14.5)
    assert network.control.away == []
    assert a.direct_to(b)
    assert max(a.longest_silence(b, at, network.world.now), b.longest_silence(a, at, network.world.now)) < 0.5
    realm = Realm(network.world, Quality(0.005))
    Nat(network.world, realm, network.terrain.internet, "198.51.100.99")
    a.host.move(realm, "10.0.0.7")
    a.link_changed()
    network.world.run(8)
    (told,) = network.control.client(b.id).netmap.peers.values()
    assert "198.51.100.99" in {endpoint.ip for endpoint in told.endpoints}
    assert b.direct_to(a)


def test_ok__the_policy_grants_the_relay():
    hard = NatPlan(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)
    plan = replace(PLAN, sites=(SitePlan((hard,)), SitePlan((hard,), subnet=2)))
    for users, kind in (((1,), "peer-relay"), ((), "derp")):
        outcome = play(replace(plan, relay_users=users))
        assert not outcome.problems, report(outcome)
        assert {pair.path for pair in outcome.pairs} == {kind}


def test_ok__same_seed_same_run():
    plan = replace(PLAN, fault=FaultKind.RESTART)
    assert play(plan).timeline == play(plan).timeline


def test_fail__defect_of_the_server_is_a_problem(monkeypatch):
    async def broken(*_: object) -> None:
        raise ValueError("for the test")

    monkeypatch.setattr(MachineApi, "_store", broken)
    assert "control" in {problem.kind for problem in play(PLAN).problems}
