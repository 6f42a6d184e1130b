"""A router that may be gone: who is asked, what their words mean, and that nothing flaps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from appliance.proto.control import messages as wire
from control.service.requests import NodeAwayError
from control.service.takeovers import ANSWER_S, BLIND_S, PINGS, STEADY_S, WITNESSES, Verdict

from .conftest import ADMIN

LAN = ip_network("10.0.0.0/24")


class Channel:
    """Nodes in `mute` answer nothing, addresses in `dead` no ping, those in `refused` with an error.

    The kernel of addresses in `kernel` answers alone; nodes in `unreached` reach nobody. `during` happens while
    somebody is asked.
    """

    def __init__(self) -> None:
        self.mute: set[int] = set()
        self.dead: set[str] = set()
        self.refused: set[str] = set()
        self.kernel: set[str] = set()
        self.unreached: set[int] = set()
        self.away: set[int] = set()
        self.asked: list[tuple[int, str]] = []
        self.during = lambda: None

    def now(self) -> float:
        return 0.0

    async def ask(self, node, request, answers, limit_s):
        self.asked.append((node.id, request.types))
        if node.id in self.away:
            raise NodeAwayError("not connected")
        self.during()
        if node.id in self.mute or request.ip in self.dead or (request.ip and node.id in self.unreached):
            return []
        if not request.types:
            return [b""]
        assert (answers, limit_s) == (1, ANSWER_S)
        refused = request.ip in self.refused or (request.ip in self.kernel and request.types != "ICMP")
        return [wire.encode(wire.PingResponse(type=request.types, ip=request.ip, err="no" if refused else ""))]


@pytest.fixture
def channel(rig):
    channel = Channel()
    rig.service.requests.connect(channel)
    return channel


@pytest.fixture
async def pair(rig, channel):
    found = [await rig.join(number, routable_ips=[str(LAN)]) for number in (1, 2)]
    for node in found:
        await rig.service.routes.approve(ADMIN, node.given_name, [])
        rig.service.session_started(node.id)
    rig.clock.advance(STEADY_S)
    return found


def _primary(rig) -> int | None:
    return rig.service.view().primary_of(LAN)


async def test_ok__a_router_that_nobody_reaches_loses_its_subnet_before_its_grace_ends(rig, channel, pair):
    one, two = pair
    channel.dead = {str(one.ipv4)}
    rig.service.session_ended(one.id)
    assert await rig.service.takeovers.look(one.id, 0.0)
    assert _primary(rig) == two.id
    assert rig.service.view().is_online(one.id), "people see it online for its grace time"
    assert rig.changes[-1].routes_moved == {one.id, two.id}
    rig.service.session_started(one.id)
    assert _primary(rig) == two.id, "no way back without need"
    assert all(state.well for state in rig.service.routes.list(ADMIN))


async def test_ok__a_router_that_others_reach_keeps_its_subnet(rig, channel, pair):
    """Its connection to control broke, its tunnels work."""
    one, two = pair
    rig.service.session_ended(one.id)
    assert not await rig.service.takeovers.look(one.id, 0.0)
    assert not await rig.service.takeovers.look(one.id, BLIND_S)
    assert _primary(rig) == one.id
    assert set(channel.asked) == {(two.id, kind) for kind in ("", "disco", "ICMP")}
    rig.clock.advance(10)
    await rig.service.sweep()
    assert _primary(rig) == two.id, "offline in the end"


async def test_ok__a_kernel_that_forwards_without_its_daemon_keeps_the_subnet(rig, channel, pair):
    one, _ = pair
    rig.service.session_ended(one.id)
    channel.kernel = {str(one.ipv4)}
    assert await rig.service.takeovers.ask(one.id) is Verdict.LIVES
    channel.refused = {str(one.ipv4)}
    assert await rig.service.takeovers.ask(one.id) is Verdict.GONE


@pytest.mark.parametrize("case", ["silent witness", "witness away", "back meanwhile", "young substitute", "no channel"])
async def test_ok__what_proves_nothing_moves_nothing(rig, channel, pair, case):
    one, two = pair
    channel.dead = {str(one.ipv4)}
    if case == "young substitute":
        rig.service.session_started(two.id)
    rig.service.session_ended(one.id)
    if case == "silent witness":
        channel.mute = {two.id}
    elif case == "witness away":
        channel.away = {two.id}
    elif case == "back meanwhile":
        channel.during = lambda: rig.service.session_started(one.id)
    elif case == "no channel":
        rig.service.requests.connect(None)
    assert not await rig.service.takeovers.look(one.id, 0.0)
    assert _primary(rig) == one.id
    assert all(state.well for state in rig.service.routes.list(ADMIN))


async def test_ok__both_routers_lost_at_once(rig, channel, pair):
    one, _ = pair
    for node in pair:
        rig.service.session_ended(node.id)
    for node in pair:
        assert not await rig.service.takeovers.look(node.id, BLIND_S)
    assert _primary(rig) == one.id


async def test_ok__without_anybody_who_sees_it_a_router_gets_a_moment(rig, channel, pair):
    one, two = pair
    await rig.service.policies.set(ADMIN, '{"acls": []}')
    rig.service.session_ended(one.id)
    assert await rig.service.takeovers.ask(one.id) is Verdict.NOBODY
    assert not await rig.service.takeovers.look(one.id, BLIND_S - 0.1)
    assert _primary(rig) == one.id
    assert await rig.service.takeovers.look(one.id, BLIND_S)
    assert _primary(rig) == two.id
    assert channel.asked == []


async def test_ok__a_few_are_asked(rig, channel, pair):
    one, two = pair
    others = [await rig.join(number) for number in range(3, 9)]
    for node in others[:-1]:
        rig.service.session_started(node.id)
    channel.dead = {str(one.ipv4)}
    channel.mute = {others[0].id, others[1].id}
    rig.service.session_ended(one.id)
    assert await rig.service.takeovers.ask(one.id) is Verdict.GONE
    assert {node_id for node_id, _ in channel.asked} == {two.id, *(node.id for node in others[:WITNESSES])}
    channel.mute |= {two.id, others[2].id}
    assert await rig.service.takeovers.ask(one.id) is Verdict.SILENT


async def test_ok__a_rival_that_reaches_it_by_the_lan_does_not_speak_for_others(rig, channel, pair):
    one, two = pair
    viewer = await rig.join(3)
    rig.service.session_started(viewer.id)
    channel.mute = {one.id}
    channel.unreached = {viewer.id}
    await rig.service.probes.glance()
    assert _primary(rig) == two.id
    channel.mute = {viewer.id}
    assert await rig.service.takeovers.ask(one.id) is Verdict.LIVES, "nobody else says anything"


async def test_ok__a_silent_primary_is_doubted_at_once(rig, channel, pair):
    one, two = pair
    channel.mute = {one.id}
    await rig.service.probes.glance()
    assert _primary(rig) == one.id, "its rival reaches it: the rounds judge"
    channel.dead = {str(one.ipv4)}
    await rig.service.probes.glance()
    assert _primary(rig) == two.id
    channel.asked.clear()
    channel.mute, channel.dead = set(), set()
    await rig.service.probes.glance()
    assert channel.asked == [(two.id, "")]


async def test_ok__a_primary_with_a_new_stream_is_not_doubted(rig, channel, pair):
    one, _ = pair
    channel.mute, channel.dead = {one.id}, {str(one.ipv4)}
    channel.during = lambda: rig.clock.advance(1) or rig.service.session_started(one.id)
    await rig.service.probes.glance()
    assert _primary(rig) == one.id


@asynccontextmanager
async def _running(rig):
    """Its pauses take time of the rig's clock alone."""

    async def pause(seconds):
        rig.clock.advance(seconds)
        await asyncio.sleep(0)

    rig.service.takeovers.sleep = pause
    task = asyncio.ensure_future(rig.service.takeovers.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_ok__the_end_of_the_last_stream_is_enough(rig, channel, pair):
    one, two = pair
    lone = await rig.join(3)
    rig.service.session_started(lone.id)
    channel.dead = {str(one.ipv4)}
    async with _running(rig):
        rig.service.session_ended(lone.id)
        rig.service.session_started(one.id)
        rig.service.session_ended(one.id)
        await asyncio.sleep(0)
        assert channel.asked == [], "the other stream is still there"
        rig.service.session_ended(one.id)
        async with asyncio.timeout(5):
            while _primary(rig) != two.id:
                await asyncio.sleep(0.001)
    assert {node_id for node_id, _ in channel.asked} == {two.id}


async def test_ok__a_question_that_nobody_answered_is_asked_again_soon(rig, channel, pair):
    """Before TCP's repeats become rare: 3 s after the loss."""
    one, two = pair
    channel.dead, channel.mute = {str(one.ipv4)}, {two.id}

    def heard_once() -> None:
        if len(channel.asked) > len(PINGS) + 1:
            channel.mute = set()

    channel.during = heard_once
    async with _running(rig):
        rig.service.session_ended(one.id)
        lost_at = rig.clock.now()
        async with asyncio.timeout(5):
            while _primary(rig) != two.id:
                await asyncio.sleep(0.001)
    assert rig.clock.now() - lost_at + 2 * ANSWER_S <= 3
    assert len(channel.asked) == 2 * (len(PINGS) + 1)
