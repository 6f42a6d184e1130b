"""Roles: what each allows, who gives them, and what the policy makes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control.service.actor import Actor, Permission, permissions_of, user_actor
from control.service.errors import ConflictError, DeniedError
from control.state.records import Role

from .conftest import ADMIN


def _operations(rig, actor):
    """One operation for each permission."""
    service = rig.service
    return {
        Permission.READ: lambda: service.policies.history(actor),
        Permission.USERS: lambda: service.users.create(actor, f"u{actor.role.value}"),
        Permission.KEYS: lambda: service.keys.create(actor, tags=["tag:x"]),
        Permission.NODES: lambda: service.attributes.set(actor, "gw1", {"custom:x": actor.role.value}),
        Permission.ROUTES: lambda: service.routes.approve(actor, "gw1", []),
        Permission.POLICY: lambda: service.policies.set(actor, '{"tagOwners": {"tag:x": []}}'),
    }


async def test_ok__each_role_does_what_it_holds_and_nothing_else(rig):
    await rig.join(1)
    for role in Role:
        for permission, operation in _operations(rig, Actor("ann", role)).items():
            if permission in permissions_of(role):
                await operation()
            else:
                with pytest.raises(DeniedError, match=role.value):
                    await operation()


async def test_ok__a_role_moves_nodes_between_autogroups(rig):
    one, two = await rig.join(1, "alice"), await rig.join(2, "bob")
    grant = '{"grants": [{"src": ["autogroup:admin"], "dst": ["bob@"], "ip": ["22"]}]}'
    await rig.service.policies.set(ADMIN, grant)
    view = rig.service.view()
    assert not view.are_peers(one.id, two.id)
    await rig.service.users.set_role(ADMIN, "alice", Role.ADMIN)
    assert view.are_peers(one.id, two.id)
    assert rig.changes[-1].everything
    await rig.reopen()
    assert rig.service.users.find("alice").role is Role.ADMIN
    await rig.service.users.set_role(ADMIN, "alice", Role.MEMBER)
    assert not rig.service.view().are_peers(one.id, two.id)
    entries = await rig.service.audit.list(ADMIN, action="user.role")
    assert [(entry.before, entry.after) for entry in entries] == [
        ('{"role": "admin"}', '{"role": "member"}'),
        ('{"role": "member"}', '{"role": "admin"}'),
    ]


async def test_ok__a_role_that_may_serve_a_route_serves_it_at_once(rig):
    node = await rig.join(1, routable_ips=["10.0.0.0/24", "10.1.0.0/24"])
    await rig.service.policies.set(ADMIN, '{"autoApprovers": {"routes": {"10.0.0.0/24": ["autogroup:admin"]}}}')
    assert rig.service.view().nodes[node.id].approved_routes == ()
    await rig.service.users.set_role(ADMIN, "alice", Role.ADMIN)
    assert [str(route) for route in rig.service.view().nodes[node.id].subnet_routes] == ["10.0.0.0/24"]


async def test_fail__nobody_makes_others_mightier_than_himself(rig):
    boss = await rig.service.users.create(ADMIN, "boss", role=Role.OWNER)
    ann = await rig.service.users.create(ADMIN, "ann", role=Role.IT_ADMIN)
    await rig.service.users.create(ADMIN, "bob")
    it_admin, admin = user_actor(ann), Actor("eve", Role.ADMIN)
    for actor, name, role in (
        (it_admin, "bob", Role.ADMIN),
        (it_admin, "bob", Role.NETWORK_ADMIN),
        (it_admin, "ann", Role.OWNER),
        (it_admin, "boss", Role.MEMBER),
        (admin, "bob", Role.OWNER),
        (admin, "boss", Role.ADMIN),
    ):
        with pytest.raises(DeniedError, match="may not give or take"):
            await rig.service.users.set_role(actor, name, role)
    with pytest.raises(DeniedError):
        await rig.service.users.create(it_admin, "new", role=Role.ADMIN)
    with pytest.raises(DeniedError):
        await rig.service.users.delete(it_admin, "boss")
    with pytest.raises(ConflictError, match="only owner"):
        await rig.service.users.set_role(user_actor(boss), "boss", Role.ADMIN)
    assert (await rig.service.users.set_role(it_admin, "bob", Role.AUDITOR)).role is Role.AUDITOR
    assert rig.service.users.find("boss").role is Role.OWNER


async def test_ok__an_api_key_of_a_user_follows_the_users_role(rig):
    await rig.service.users.create(ADMIN, "ann", role=Role.ADMIN)
    _, text = await rig.service.api_keys.create(ADMIN, scopes=["users", "read"], life=timedelta(days=1), user="ann")
    actor = await rig.service.api_keys.actor_of(text)
    await rig.service.users.create(actor, "bob")
    (entry, *_) = await rig.service.audit.list(ADMIN, action="user.create")
    assert entry.actor.startswith("user:ann apikey:")
    with pytest.raises(DeniedError, match="scopes"):
        await rig.service.policies.set(actor, "{}")
    await rig.service.users.set_role(ADMIN, "ann", Role.AUDITOR)
    actor = await rig.service.api_keys.actor_of(text)
    with pytest.raises(DeniedError, match="role auditor"):
        await rig.service.users.create(actor, "carl")
    assert actor.holds(Permission.READ)
    await rig.service.users.delete(ADMIN, "ann")
    with pytest.raises(DeniedError, match="not known"):
        await rig.service.api_keys.actor_of(text)


async def test_fail__an_api_key_of_somebody_mightier(rig):
    await rig.service.users.create(ADMIN, "boss", role=Role.OWNER)
    with pytest.raises(DeniedError):
        await rig.service.api_keys.create(Actor("ann", Role.IT_ADMIN), scopes=["read"], life=None, user="boss")
