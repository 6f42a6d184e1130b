"""SSH logins that need a check: held, let in, denied, remembered, forgotten."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from control.service import ssh_checks as module
from control.service.actor import Actor
from control.service.errors import ConflictError, DeniedError, NotFoundError
from control.service.ssh_checks import LIFE_S, SshChecks
from control.state.records import Role

from .conftest import ADMIN

RULE = '{"action": "check", "src": ["alice@", "tag:bot"], "dst": ["tag:srv"], "users": ["root", "dev"]'
POLICY = f"""{{
  "tagOwners": {{"tag:srv": [], "tag:bot": []}},
  "ssh": [{RULE}, "checkPeriod": "20m"}}],
}}"""


class World:
    def __init__(self, rig) -> None:
        self.rig = rig
        self.checks: SshChecks = rig.service.ssh_checks

    async def ask(self, login: str = "root", check_id: str = "", source: str = "gw1", target: str = "gw2"):
        nodes = self.rig.service.nodes
        return await self.checks.action(nodes.find(target), nodes.find(source).id, login, check_id)

    async def held(self, **asked) -> str:
        """The id under which a login waits."""
        action = await self.ask(**asked)
        assert not action.accept
        assert not action.reject
        (check_id,) = parse_qs(urlsplit(action.hold_and_delegate).query)["auth_id"]
        assert f"/auth/{check_id}" in action.message
        return check_id


@pytest.fixture
async def world(rig):
    await rig.join(1)
    await rig.join(2, None, {"tags": ["tag:srv"]})
    await rig.join(3, None, {"tags": ["tag:bot"]})
    await rig.service.policies.set(ADMIN, POLICY)
    return World(rig)


async def test_ok__held_until_an_administrator_lets_it_in(world):
    check_id = await world.held()
    waiting = asyncio.ensure_future(world.ask(check_id=check_id))
    await asyncio.sleep(0)
    assert [check.login for check in world.checks.list(ADMIN)] == ["root"]
    assert await world.held() == check_id
    await world.checks.approve(ADMIN, f"https://control.example/auth/{check_id}")
    action = await waiting
    assert action.accept
    assert action.allow_agent_forwarding
    assert world.checks.list(ADMIN) == ()
    (entry,) = await world.rig.service.audit.list(ADMIN, action="ssh.")
    assert (entry.action, entry.actor, entry.target) == ("ssh.approve", "local:0", "node:2")
    with pytest.raises(ConflictError, match="approved already"):
        await world.checks.deny(ADMIN, check_id)


async def test_ok__denied(world):
    check_id = await world.held()
    await world.checks.deny(ADMIN, check_id)
    action = await world.ask(check_id=check_id)
    assert action.reject
    assert "denied" in action.message
    assert await world.held() != check_id


async def test_ok__remembered_for_the_period_between_the_two_nodes_only(world):
    await world.checks.approve(ADMIN, await world.held())
    world.rig.clock.advance(20 * 60 - 1)
    assert (await world.ask(login="dev")).accept
    world.rig.clock.advance(1)
    await world.held()


@pytest.mark.parametrize("what", ["policy", "key", "always"])
async def test_ok__forgotten(world, what):
    if what == "always":
        await world.rig.service.policies.set(ADMIN, POLICY.replace("20m", "always"))
    await world.checks.approve(ADMIN, await world.held())
    if what == "policy":
        await world.rig.service.policies.set(ADMIN, POLICY + "\n")
    elif what == "key":
        await world.rig.register(1, await world.rig.key("alice"), key=77)
    await world.held()


async def test_ok__a_node_that_waits_is_answered_again_and_again(world):
    world.checks = SshChecks(world.rig.service._core, hold_s=0.01)
    check_id = await world.held()
    action = await world.ask(check_id=check_id)
    assert action.hold_and_delegate.endswith(check_id)
    assert action.message == ""


async def test_ok__too_old(world):
    check_id = await world.held()
    waiting = asyncio.ensure_future(world.ask(check_id=check_id))
    await asyncio.sleep(0)
    world.rig.clock.advance(LIFE_S)
    world.checks.sweep()
    assert (await waiting).reject
    with pytest.raises(NotFoundError):
        await world.checks.approve(ADMIN, check_id)
    assert await world.held() != check_id


async def test_ok__narrowed_while_it_waited(world):
    check_id = await world.held()
    waiting = asyncio.ensure_future(world.ask(check_id=check_id))
    await asyncio.sleep(0)
    await world.rig.service.policies.set(ADMIN, "{}")
    await world.checks.approve(ADMIN, check_id)
    assert (await waiting).reject


async def test_ok__another_login_cannot_use_a_check(world):
    check_id = await world.held()
    await world.checks.approve(ADMIN, check_id)
    await world.rig.join(4)
    other = await world.ask(source="gw4", check_id=check_id)
    assert not other.accept
    assert check_id not in other.hold_and_delegate


async def test_fail__what_no_check_can_open(world):
    """A tag, a login, a direction, a login without end."""
    for asked in (
        {"source": "gw3"},
        {"login": "eve"},
        {"source": "gw2", "target": "gw1"},
        {"login": "root" + "x" * 80},
    ):
        action = await world.ask(**asked)
        assert action.reject
        assert not action.hold_and_delegate
    assert world.checks.list(ADMIN) == ()


async def test_fail__an_unknown_source(world):
    assert (await world.checks.action(world.rig.service.nodes.find("gw2"), 999, "root", "")).reject


async def test_fail__who_may(world):
    check_id = await world.held()
    for role in (Role.MEMBER, Role.AUDITOR, Role.NETWORK_ADMIN):
        with pytest.raises(DeniedError):
            await world.checks.approve(Actor("x", role), check_id)
    assert (await world.checks.approve(Actor("x", Role.IT_ADMIN), check_id)).decision == "approved"


async def test_ok__one_target_cannot_drive_out_the_checks_of_another(world, monkeypatch):
    await world.rig.join(5, None, {"tags": ["tag:srv"]})
    await world.rig.service.policies.set(ADMIN, POLICY.replace('"root", "dev"', '"autogroup:nonroot"'))
    monkeypatch.setattr(module, "MAX_OF_A_TARGET", 3)
    mine = await world.held(login="me", target="gw5")
    for number in range(10):
        await world.held(login=f"u{number}")
    assert [check.login for check in world.checks.list(ADMIN)] == ["me", "u7", "u8", "u9"]
    assert world.checks.waiting(mine) is not None
