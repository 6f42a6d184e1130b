"""From a failing plan to the shortest story that still fails in the same way: things are taken away one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.sim.nat import PORTS, Allocation, Filtering, Mapping
from tests.sim.outcome import Outcome
from tests.sim.plan import POOLS, NatPlan, Plan, SitePlan
from tests.sim.scenario import play

MAX_TRIES = 150


def shrink(plan: Plan, failed: Outcome, tries: int = MAX_TRIES) -> tuple[Plan, Outcome]:
    """The simplest plan found within so many plays that shows a problem of the same kind, and its outcome."""
    kinds = {problem.kind for problem in failed.problems}
    moved = True
    while moved and tries > 0:
        moved = False
        for simpler in simplifications(plan):
            tries -= 1
            outcome = play(simpler)
            if any(problem.kind in kinds for problem in outcome.problems):
                plan, failed, moved = simpler, outcome, True
                break
            if tries <= 0:
                break
    return plan, failed


def simplifications(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the largest things first."""
    for number in range(len(plan.nodes)):
        if len(plan.nodes) > 2:
            yield _without_node(plan, number)
    if plan.fault is not None:
        yield replace(plan, fault=None, idle=False)
    if plan.relay_users is not None:
        yield replace(plan, relay_users=None)
    if plan.control:
        yield replace(plan, control=False)
    if len(plan.regions) > 1:
        yield replace(plan, regions=plan.regions[:1])
    for number, site in enumerate(plan.sites):
        for simpler in _simpler_sites(site):
            yield replace(plan, sites=(*plan.sites[:number], simpler, *plan.sites[number + 1 :]))
    for number, nat in enumerate(plan.carriers):
        for simpler_nat in _simpler_nats(nat):
            yield replace(plan, carriers=(*plan.carriers[:number], simpler_nat, *plan.carriers[number + 1 :]))
    if plan.core_delay != 0.01:
        yield replace(plan, core_delay=0.01)


def _without_node(plan: Plan, number: int) -> Plan:
    nodes = (*plan.nodes[:number], *plan.nodes[number + 1 :])
    if plan.relay_users is not None:
        users = tuple(user - (user > number) for user in plan.relay_users if user != number)
        plan = replace(plan, relay_users=users)
    if plan.fault is None or plan.victim < number:
        return replace(plan, nodes=nodes)
    return replace(plan, nodes=nodes, victim=max(0, plan.victim - 1))


def _simpler_sites(site: SitePlan) -> Iterator[SitePlan]:
    if site.carrier is not None:
        yield replace(site, carrier=None)
    if len(site.nats) > 1:
        yield replace(site, nats=site.nats[1:])
        yield replace(site, nats=site.nats[:-1])
    for plain in (
        {"v6": False},
        {"forwarded": False},
        {"maps_ports": False},
        {"mapping": SitePlan.mapping},
        {"firewall": None},
        {"loss": 0.0},
        {"doubled": 0.0},
        {"mtu": SitePlan.mtu},
    ):
        if any(getattr(site, name) != value for name, value in plain.items()):
            yield replace(site, **plain)
    if site.jitter or site.delay != 0.005:
        yield replace(site, jitter=0.0, delay=0.005)
    for number, nat in enumerate(site.nats):
        for simpler in _simpler_nats(nat):
            yield replace(site, nats=(*site.nats[:number], simpler, *site.nats[number + 1 :]))


def _simpler_nats(nat: NatPlan) -> Iterator[NatPlan]:
    easy = {"mapping": Mapping.ENDPOINT_INDEPENDENT, "allocation": Allocation.PRESERVING}
    open_ = {"filtering": Filtering.ENDPOINT_INDEPENDENT}
    roomy = {"cap": PORTS, "pool": POOLS[0], "background": 0.0, "step": 1}
    for plain in (easy, open_, roomy, {"hairpin": False}, {"blocks_udp": False}, {"timeout": 60.0}):
        if any(getattr(nat, name) != value for name, value in plain.items()):
            yield replace(nat, **plain)
