"""Joining without a key: URL, follow-up, approval, denial (control-protocol spec 7.4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.control.messages import LOGOUT_EXPIRY, Auth, Hostinfo, RegisterRequest, RegisterResponse
from control.service.actor import Actor
from control.service.errors import ConflictError, DeniedError, NotFoundError, ServiceError
from control.service.pending import LIFE_S
from control.service.present import pending_json
from control.service.registration import _login_id
from control.state.records import Role
from tests.unit.control.service.conftest import ADMIN, machine, node_key


async def ask(rig, number: int, *, key: int | None = None, followup: str = "", auth: str = "", **info):
    request = RegisterRequest(
        version=130,
        node_key=str(node_key(number if key is None else key)),
        followup=followup,
        auth=Auth(auth_key=auth) if auth else None,
        hostinfo=Hostinfo(**{"hostname": f"gw{number}", **info}),
    )
    return await rig.service.register(machine(number), request, "192.0.2.1")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def following(rig, number: int, url: str, **fields) -> asyncio.Task[RegisterResponse]:
    task = asyncio.ensure_future(ask(rig, number, followup=url, **fields))
    await settle()
    assert not task.done()
    return task


@pytest.fixture
async def alice(rig):
    return await rig.service.users.create(ADMIN, "alice", email="alice@example.org")


def id_of(answer: RegisterResponse) -> str:
    return answer.auth_url.rpartition("/")[2]


async def test_ok__approved(rig, alice):
    answer = await ask(rig, 1)
    assert (answer.error, answer.machine_authorized) == ("", False)
    assert answer.auth_url.startswith(f"{rig.settings.url}/register/")
    waiting = await following(rig, 1, answer.auth_url)
    [login] = rig.service.logins.list(ADMIN)
    assert (login.id, login.hostinfo.hostname) == (id_of(answer), "gw1")
    node = await rig.service.logins.approve(ADMIN, answer.auth_url, "alice")
    done = await waiting
    assert (done.error, done.auth_url, done.machine_authorized, done.login.login_name) == (
        "", "", True, "alice@example.org",
    )  # fmt: skip
    assert (node.given_name, node.user_id) == ("gw1", alice.id)
    assert not rig.service.logins.list(ADMIN)
    async with rig.service._core.change(ADMIN) as draft:
        [entry] = [entry for entry in await draft.tx.audit_entries(10) if entry.action == "node.register"]
    assert entry.actor == ADMIN.name


async def test_ok__a_follow_up_after_the_approval_is_answered_at_once(rig, alice):
    url = (await ask(rig, 1)).auth_url
    await rig.service.logins.approve(ADMIN, id_of(await ask(rig, 1)), "alice")
    assert (await ask(rig, 1, followup=url)).machine_authorized
    await rig.reopen()
    assert (await ask(rig, 1, followup=url)).machine_authorized, "also when the server forgot the login"


async def test_ok__the_host_of_the_url_does_not_matter(rig, alice):
    url = (await ask(rig, 1)).auth_url
    waiting = await following(rig, 1, "https://elsewhere.example/register/" + url.rpartition("/")[2] + "?x=1")
    await rig.service.logins.approve(ADMIN, id_of(await ask(rig, 1)), "alice")
    assert (await waiting).machine_authorized


async def test_ok__denied(rig, alice):
    answer = await ask(rig, 1)
    waiting = await following(rig, 1, answer.auth_url)
    await rig.service.logins.deny(ADMIN, id_of(answer))
    assert "denied" in (await waiting).error
    assert not rig.service.view().nodes
    again = await ask(rig, 1)
    assert again.auth_url not in ("", answer.auth_url)
    with pytest.raises(NotFoundError):
        await rig.service.logins.approve(ADMIN, id_of(answer), "alice")


async def test_ok__too_old_begins_anew(rig):
    answer = await ask(rig, 1)
    waiting = await following(rig, 1, answer.auth_url)
    rig.clock.advance(LIFE_S)
    await rig.service.sweep()
    again = await waiting
    assert again.auth_url not in ("", answer.auth_url)
    assert [login.id for login in rig.service.logins.list(ADMIN)] == [id_of(again)]


@pytest.mark.parametrize("url", ["https://c.example/register/unknown", "nonsense", "/register/" + "a" * 5000])
async def test_ok__an_unknown_url_begins_anew(rig, url):
    answer = await ask(rig, 1, followup=url)
    assert answer.auth_url not in ("", url)


async def test_fail__the_url_of_another_device_gives_nothing(rig, alice):
    url = (await ask(rig, 1)).auth_url
    answer = await ask(rig, 2, followup=url)
    assert answer.auth_url not in ("", url)
    answer = await ask(rig, 2, key=1, followup=url)
    assert answer.auth_url not in ("", url)
    answer = await ask(rig, 1, key=9, followup=url)
    assert answer.auth_url not in ("", url)


@given(st.text(max_size=200))
def test_ok__any_follow_up_names_at_most_an_id(text: str) -> None:
    assert len(_login_id(text)) <= 64
    assert len(_login_id("/register/" + text)) <= 64


async def test_ok__what_a_stranger_says_is_shown_without_control_characters(rig):
    await ask(rig, 1, hostname="gw\x1b[2J\u202e", os="x" * 999, request_tags=["tag:\n"])
    shown = pending_json(rig.service.logins.list(ADMIN)[0])
    assert (shown["hostname"], len(shown["os"]), shown["tags"]) == ("gw?[2J?", 64, ["tag:?"])


async def test_ok__a_new_login_of_the_device_ends_the_former(rig):
    answer = await ask(rig, 1)
    waiting = await following(rig, 1, answer.auth_url)
    await ask(rig, 1, key=9)
    assert "another login" in (await waiting).error


async def test_ok__rotation_keeps_identity(rig, alice):
    before = await rig.join(1)
    answer = await ask(rig, 1, key=9)
    assert rig.service.is_known(node_key(1)), "the old key stays until the new login is done"
    waiting = await following(rig, 1, answer.auth_url, key=9)
    after = await rig.service.logins.approve(ADMIN, id_of(answer), "alice")
    assert (await waiting).machine_authorized
    for name in ("id", "stable_id", "ipv4", "ipv6", "given_name", "user_id"):
        assert getattr(after, name) == getattr(before, name)
    assert rig.service.node_for(machine(1), node_key(1)) is None
    assert rig.service.node_for(machine(1), node_key(9)) == after


async def test_ok__logout_and_return_by_url(rig, alice):
    before = await rig.join(1)
    await rig.register(1, expiry=LOGOUT_EXPIRY)
    assert (await ask(rig, 1)).node_key_expired
    answer = await ask(rig, 1, key=9)
    node = await rig.service.logins.approve(ADMIN, id_of(answer), "alice")
    assert (node.id, node.key_expiry) == (before.id, None)


async def test_ok__expired_by_an_administrator_and_renewed(rig, alice):
    rig.service._core.settings = type(rig.settings)(domain="net.example", key_expiry=timedelta(days=90))
    await rig.join(1)
    await rig.service.nodes.expire(ADMIN, "gw1")
    assert (await ask(rig, 1)).node_key_expired
    answer = await ask(rig, 1, key=9)
    node = await rig.service.logins.approve(ADMIN, id_of(answer), "alice")
    assert node.key_expiry == rig.clock.wall_now() + timedelta(days=90)


async def test_fail__tags_that_the_user_does_not_own(rig, alice):
    await rig.service.policies.set(ADMIN, '{"tagOwners": {"tag:a": ["alice@"], "tag:b": []}}')
    answer = await ask(rig, 1, request_tags=["tag:b"])
    with pytest.raises(ServiceError, match="tag:b"):
        await rig.service.logins.approve(ADMIN, id_of(answer), "alice")
    assert rig.service.logins.list(ADMIN), "it still waits"
    answer = await ask(rig, 2, request_tags=["tag:a"])
    assert (await rig.service.logins.approve(ADMIN, id_of(answer), "alice")).tags == ("tag:a",)


async def test_fail__decisions(rig, alice):
    answer = await ask(rig, 1)
    with pytest.raises(NotFoundError, match="user"):
        await rig.service.logins.approve(ADMIN, id_of(answer), "nobody")
    with pytest.raises(NotFoundError, match="no login waits"):
        await rig.service.logins.approve(ADMIN, "0" * 20, "alice")
    auditor = Actor("eve", Role.AUDITOR)
    for work in (rig.service.logins.approve(auditor, id_of(answer), "alice"), rig.service.logins.deny(auditor, "x")):
        with pytest.raises(DeniedError):
            await work
    await rig.service.logins.approve(ADMIN, id_of(answer), "alice")
    with pytest.raises(ConflictError, match="approved already"):
        await rig.service.logins.approve(ADMIN, id_of(answer), "alice")


async def test_ok__a_key_settles_a_login_that_waited(rig, alice):
    answer = await ask(rig, 1)
    assert (await ask(rig, 1, auth=await rig.key())).machine_authorized
    assert (await ask(rig, 1, followup=answer.auth_url)).machine_authorized
