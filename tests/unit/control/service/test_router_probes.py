"""Pairs of subnet routers: who serves, who takes over, and what the mesh is told."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.proto.control.messages import Hostinfo
from control.mapper.nodes import PeerNodes
from control.service.requests import NodeAwayError
from control.service.router_probes import PROBE_EVERY_S, PROBE_LIMIT_S

from .conftest import ADMIN

LAN = ip_network("10.0.0.0/24")
OTHER = ip_network("10.9.0.0/24")


class Channel:
    """Nodes in `silent` do not answer, those in `away` cannot be asked; `during` happens while they are asked."""

    def __init__(self) -> None:
        self.silent: set[int] = set()
        self.away: set[int] = set()
        self.asked: list[int] = []
        self.during = lambda: None

    def now(self) -> float:
        return 0.0

    async def ask(self, node, request, answers, limit_s):
        assert (request.types, answers, limit_s) == ("", 1, PROBE_LIMIT_S)
        self.asked.append(node.id)
        if node.id in self.away:
            raise NodeAwayError("not connected")
        self.during()
        return [] if node.id in self.silent else [b""]


@pytest.fixture
def channel(rig):
    channel = Channel()
    rig.service.requests.connect(channel)
    return channel


async def _router(rig, number: int, *routes):
    node = await rig.join(number, routable_ips=[str(route) for route in routes])
    await rig.service.routes.approve(ADMIN, node.given_name, [])
    rig.service.session_started(node.id)
    return node


@pytest.fixture
async def pair(rig):
    found = [await _router(rig, number, LAN) for number in (1, 2)]
    rig.clock.advance(PROBE_EVERY_S)
    return found


async def test_ok__a_silent_router_loses_its_subnet_and_does_not_reclaim_it(rig, channel, pair):
    one, two = pair
    viewer = await rig.join(3)
    view = rig.service.view()
    assert view.primary_of(LAN) == one.id
    channel.silent = {one.id}
    await rig.service.probes.round()
    assert view.primary_of(LAN) == two.id
    assert rig.changes[-1].routes_moved == {one.id, two.id}
    assert viewer.id in rig.changes[-1].viewers
    peers = PeerNodes(view).peers(viewer.id, [node.id for node in pair])
    assert [peer.primary_routes for peer in peers] == [[], [str(LAN)]]
    assert [str(LAN) in (peer.allowed_ips or []) for peer in peers] == [False, True]
    states = {state.node.id: (state.primary, state.well) for state in rig.service.routes.list(ADMIN)}
    assert states == {one.id: (False, False), two.id: (True, True)}
    channel.silent = set()
    await rig.service.probes.round()
    assert view.primary_of(LAN) == two.id
    assert all(state.well for state in rig.service.routes.list(ADMIN))
    rig.service.session_ended(two.id)
    rig.clock.advance(10)
    await rig.service.sweep()
    assert view.primary_of(LAN) == one.id


async def test_ok__all_silent_keeps_the_primary(rig, channel, pair):
    channel.silent = {node.id for node in pair}
    await rig.service.probes.round()
    assert rig.service.view().primary_of(LAN) == pair[0].id


async def test_ok__a_withdrawn_route_moves_at_once(rig, channel, pair):
    one, two = pair
    await rig.service.update_node(one.id, hostinfo=Hostinfo(hostname="gw1"))
    view = rig.service.view()
    assert view.primary_of(LAN) == two.id
    await rig.service.update_node(one.id, hostinfo=Hostinfo(hostname="gw1", routable_ips=[str(LAN)]))
    assert view.primary_of(LAN) == two.id
    assert view.nodes[one.id].subnet_routes == (LAN,)
    await rig.service.update_node(two.id, hostinfo=Hostinfo(hostname="gw2"))
    assert view.primary_of(LAN) == one.id


async def test_ok__only_routers_with_a_substitute_are_asked(rig, channel, pair):
    lone = await _router(rig, 3, OTHER)
    rig.clock.advance(PROBE_EVERY_S)
    await rig.service.probes.round()
    assert sorted(channel.asked) == [node.id for node in pair]
    channel.silent = {lone.id}
    await rig.service.probes.round()
    assert rig.service.view().primary_of(OTHER) == lone.id


@pytest.mark.parametrize("case", ["young", "again", "gone", "cannot be asked"])
async def test_ok__a_round_that_proves_nothing(rig, channel, pair, case):
    one, _ = pair
    channel.silent = {one.id}
    if case == "young":
        rig.service.session_started(one.id)
    elif case == "again":
        channel.during = lambda: rig.clock.advance(1) or rig.service.session_started(one.id)
    elif case == "gone":
        channel.during = lambda: rig.service.session_ended(one.id)
    else:
        channel.away = {one.id}
    await rig.service.probes.round()
    assert rig.service.view().primary_of(LAN) == one.id
    assert all(state.well for state in rig.service.routes.list(ADMIN))


async def test_ok__a_new_stream_makes_a_router_well(rig, channel, pair):
    one, two = pair
    channel.silent = {one.id}
    await rig.service.probes.round()
    rig.service.session_started(one.id)
    assert [state.well for state in rig.service.routes.list(ADMIN, "gw1")] == [True]
    assert rig.service.view().primary_of(LAN) == two.id


async def test_ok__grants_with_via_leave_silent_and_absent_routers(rig, channel):
    pair = [await rig.join(number, None, {"tags": ["tag:gw"]}, routable_ips=[str(LAN)]) for number in (1, 2)]
    for node in pair:
        await rig.service.routes.approve(ADMIN, node.given_name, [])
        rig.service.session_started(node.id)
    viewer = await rig.join(3)
    grant = '{"src": ["alice@"], "dst": ["10.0.0.0/24"], "ip": ["*"], "via": ["tag:gw"]}'
    await rig.service.policies.set(ADMIN, f'{{"tagOwners": {{"tag:gw": []}}, "grants": [{grant}]}}')
    rig.clock.advance(PROBE_EVERY_S)

    def serving() -> list[int]:
        view = rig.service.view()
        return [node.id for node in pair if LAN in view.allowed_ips(viewer.id, node.id)]

    assert serving() == [pair[0].id]
    channel.silent = {pair[0].id}
    await rig.service.probes.round()
    assert serving() == [pair[1].id]
    assert rig.changes[-1].routes_moved == {node.id for node in pair}
    assert viewer.id in rig.changes[-1].viewers
    channel.silent = set()
    await rig.service.probes.round()
    assert serving() == [pair[0].id]
    rig.service.session_ended(pair[0].id)
    rig.clock.advance(10)
    await rig.service.sweep()
    assert serving() == [pair[1].id]
    assert rig.changes[-1].routes_moved == {node.id for node in pair}


async def test_ok__a_restart_moves_no_subnet(rig, channel, pair):
    one, two = pair
    channel.silent = {one.id}
    await rig.service.probes.round()
    assert rig.service.view().primary_of(LAN) == two.id
    await rig.reopen()
    view = rig.service.view()
    for node in pair:
        assert view.primary_of(LAN) == two.id
        rig.service.session_started(node.id)
    rig.clock.advance(60)
    await rig.service.sweep()
    assert view.primary_of(LAN) == two.id
    await rig.service.nodes.delete(ADMIN, "gw2")
    await rig.reopen()
    assert rig.service.view().primary_of(LAN) == one.id


async def test_ok__a_router_that_does_not_come_back_after_a_restart(rig, pair):
    one, two = pair
    await rig.reopen()
    view = rig.service.view()
    rig.service.session_started(two.id)
    assert view.primary_of(LAN) == one.id
    rig.clock.advance(46)
    await rig.service.sweep()
    assert view.primary_of(LAN) == two.id


async def test_ok__a_silent_router_is_better_than_one_that_is_away(rig, channel, pair):
    """Some clients answer no probe at all."""
    one, two = pair
    channel.silent = {one.id, two.id}
    await rig.service.probes.round()
    assert rig.service.view().primary_of(LAN) == one.id
    rig.service.session_ended(one.id)
    rig.clock.advance(10)
    await rig.service.sweep()
    assert rig.service.view().primary_of(LAN) == two.id
