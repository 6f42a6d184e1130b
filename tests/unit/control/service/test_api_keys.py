"""API keys: scoped, expiring, revocable, never stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from control.service.actor import Actor, Permission
from control.service.errors import DeniedError, NotFoundError, ServiceError
from control.state.records import Role
from tests.unit.control.service.conftest import ADMIN


async def test_ok__a_key_holds_its_scopes_only(rig):
    _, text = await rig.service.api_keys.create(ADMIN, scopes=["read", "users"], life=timedelta(days=1))
    actor = await rig.service.api_keys.actor_of(text)
    user = await rig.service.users.create(actor, "alice")
    assert user.name == "alice"
    with pytest.raises(DeniedError, match="scopes"):
        await rig.service.policies.set(actor, "{}")
    (entry,) = await rig.service.audit.list(ADMIN, who=actor.name)
    assert entry.action == "user.create"


async def test_fail__expired_revoked_or_wrong(rig):
    key, text = await rig.service.api_keys.create(ADMIN, scopes=["read"], life=timedelta(hours=1))
    other, other_text = await rig.service.api_keys.create(ADMIN, scopes=["read"], life=None)
    for wrong in ("", text[:-1] + "x", text[:-48] + "0" * 48, other_text.replace(other.prefix, key.prefix)):
        with pytest.raises(DeniedError, match="not known"):
            await rig.service.api_keys.actor_of(wrong)
    await rig.service.api_keys.revoke(ADMIN, str(other.id))
    with pytest.raises(DeniedError, match="revoked"):
        await rig.service.api_keys.actor_of(other_text)
    assert replace(key).state(key.expiry) == "expired"
    with pytest.raises(NotFoundError):
        await rig.service.api_keys.revoke(ADMIN, "none")


async def test_fail__nobody_gives_what_he_does_not_hold(rig):
    it_admin = Actor("ann", Role.IT_ADMIN)
    with pytest.raises(DeniedError):
        await rig.service.api_keys.create(it_admin, scopes=["policy"], life=None)
    narrow = Actor("key", Role.OWNER, frozenset({Permission.KEYS}))
    with pytest.raises(DeniedError):
        await rig.service.api_keys.create(narrow, scopes=["read"], life=None)
    with pytest.raises(ServiceError, match="expired already"):
        await rig.service.api_keys.create(ADMIN, scopes=["read"], life=timedelta(0))


async def test_ok__random_addresses_are_unique_and_not_in_order(rig):
    rig.settings = replace(rig.settings, random_addresses=True)
    await rig.reopen()
    nodes = [await rig.join(number) for number in range(1, 9)]
    assert len({node.ipv4 for node in nodes}) == len({node.ipv6 for node in nodes}) == 8
    assert [node.ipv4 for node in nodes] != sorted(node.ipv4 for node in nodes)
