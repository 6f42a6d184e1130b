"""Users, keys, nodes, routes and policies through the service."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from control.policy.problems import PolicyError
from control.service.actor import Actor
from control.service.errors import ConflictError, DeniedError, NotFoundError, ServiceError
from control.state.records import Role
from tests.unit.control.service.conftest import ADMIN, machine, node_key

LAN = ip_network("10.0.0.0/24")
MEMBER = Actor("mallory", Role.MEMBER)


async def test_ok__users(rig):
    await rig.service.users.create(ADMIN, "alice", email="alice@example.org", display_name="Ålice")
    await rig.service.users.rename(ADMIN, "alice@example.org", "ann")
    assert [user.name for user in rig.service.users.list(ADMIN)] == ["ann"]
    await rig.service.users.delete(ADMIN, "ann")
    assert rig.service.users.list(ADMIN) == ()


async def test_fail__users(rig):
    await rig.service.users.create(ADMIN, "alice", email="a@x.org")
    with pytest.raises(ConflictError, match="exists already"):
        await rig.service.users.create(ADMIN, "alice")
    with pytest.raises(ConflictError, match="e-mail address"):
        await rig.service.users.create(ADMIN, "bob", email="A@x.org")
    with pytest.raises(ServiceError, match="not a user name"):
        await rig.service.users.create(ADMIN, "Alice Smith")
    with pytest.raises(NotFoundError) as caught:
        await rig.service.users.delete(ADMIN, "bob")
    assert "users create bob" in caught.value.mend
    assert len(rig.service.view().users) == 1


async def test_fail__a_user_with_nodes_stays(rig):
    await rig.join(1)
    with pytest.raises(ConflictError, match="owns 1 node"):
        await rig.service.users.delete(ADMIN, "alice")


async def test_ok__a_user_with_keys_can_go(rig):
    await rig.join(1)
    await rig.service.nodes.tag(ADMIN, "gw1", ["tag:x"])
    await rig.service.users.delete(ADMIN, "alice")
    assert await rig.service.keys.list(ADMIN) == ()


async def test_fail__roles_are_checked_inside(rig):
    await rig.join(1)
    for refused in (
        rig.service.users.create(MEMBER, "x"),
        rig.service.keys.create(MEMBER, user="alice"),
        rig.service.nodes.delete(MEMBER, "gw1"),
        rig.service.routes.approve(MEMBER, "gw1", ["10.0.0.0/24"]),
        rig.service.policies.set(MEMBER, ""),
    ):
        with pytest.raises(DeniedError):
            await refused
    with pytest.raises(DeniedError):
        rig.service.nodes.list(MEMBER)


async def test_fail__keys_need_an_owner(rig):
    with pytest.raises(ServiceError, match="needs an owner"):
        await rig.service.keys.create(ADMIN)
    with pytest.raises(ServiceError, match="not a tag"):
        await rig.service.keys.create(ADMIN, tags=["gw"])
    with pytest.raises(NotFoundError):
        await rig.service.keys.create(ADMIN, user="nobody")
    with pytest.raises(NotFoundError):
        await rig.service.keys.revoke(ADMIN, "12345")


async def test_ok__key_text_does_not_show_in_the_record(rig):
    record, text = await rig.service.keys.create(ADMIN, tags=["tag:x"], life=timedelta(days=1))
    assert text.rpartition("-")[2] not in repr(record)
    [listed] = await rig.service.keys.list(ADMIN)
    assert listed == record


async def test_ok__rename_holds_against_the_hostname(rig):
    node = await rig.join(1)
    await rig.service.nodes.rename(ADMIN, "gw1", "Edge")
    await rig.join(2, hostname="edge")
    assert [one.given_name for one in rig.service.nodes.list(ADMIN)] == ["edge", "edge-1"]
    with pytest.raises(ConflictError):
        await rig.service.nodes.rename(ADMIN, "edge-1", "edge")
    with pytest.raises(ServiceError, match="not a host name"):
        await rig.service.nodes.rename(ADMIN, "edge", "a_b")
    assert rig.service.nodes.find("edge.net.example.").id == node.id
    assert rig.service.nodes.find("100.64.0.1").id == node.id
    assert rig.service.nodes.find(str(node.id)).id == node.id


async def test_ok__delete_tells_its_peers(rig):
    one, two = await rig.join(1), await rig.join(2)
    await rig.service.nodes.delete(ADMIN, "gw1")
    change = rig.changes[-1]
    assert change.nodes[0].after is None
    assert change.viewers == {one.id, two.id}
    assert rig.service.view().visible_peers(two.id) == frozenset()
    with pytest.raises(NotFoundError):
        rig.service.nodes.find("gw1")


async def test_ok__expire_and_tag(rig):
    node = await rig.join(1)
    expired = await rig.service.nodes.expire(ADMIN, "gw1")
    assert expired.key_expiry == rig.clock.wall_now()
    assert rig.service.node_for(machine(1), node_key(1)) == expired
    tagged = await rig.service.nodes.tag(ADMIN, str(node.id), ["tag:b", "tag:a"])
    assert (tagged.tags, tagged.user_id, tagged.key_expiry) == (("tag:a", "tag:b"), None, None)
    with pytest.raises(ServiceError):
        await rig.service.nodes.tag(ADMIN, "gw1", [])


async def test_fail__undefined_tag_once_a_policy_is_in_force(rig):
    await rig.join(1)
    await rig.service.policies.set(ADMIN, '{"tagOwners": {"tag:a": []}}')
    with pytest.raises(ServiceError, match="tag not found"):
        await rig.service.nodes.tag(ADMIN, "gw1", ["tag:b"])


async def test_ok__route_approval_and_revocation(rig):
    one, two = await rig.join(1, routable_ips=["10.0.0.0/24", "0.0.0.0/0", "::/0"]), await rig.join(2)
    rig.service.session_started(one.id)
    view = rig.service.view()
    assert view.allowed_ips(two.id, one.id) == one.addresses
    states = await rig.service.routes.approve(ADMIN, "gw1", ["10.0.0.0/24", "exit"])
    assert [(str(state.route), state.approved, state.primary) for state in states] == [
        ("0.0.0.0/0", True, False),
        ("10.0.0.0/24", True, True),
        ("::/0", True, False),
    ]
    assert set(view.allowed_ips(two.id, one.id)) == {
        *one.addresses,
        *map(ip_network, ("10.0.0.0/24", "0.0.0.0/0", "::/0")),
    }
    assert one.id in rig.changes[-1].routes_moved
    assert two.id in rig.changes[-1].viewers
    await rig.service.routes.revoke(ADMIN, "gw1", ["10.0.0.0/24"])
    assert view.primary_routes(one.id) == ()
    with pytest.raises(NotFoundError, match="does not advertise"):
        await rig.service.routes.approve(ADMIN, "gw2", ["10.0.0.0/24"])
    with pytest.raises(ServiceError, match="not a network"):
        await rig.service.routes.approve(ADMIN, "gw1", ["10.0.0.1/24"])


async def test_ok__auto_approvers(rig):
    await rig.service.policies.set(
        ADMIN, '{"tagOwners": {"tag:gw": []}, "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:gw"]}}}'
    )
    node = await rig.join(1, None, {"tags": ["tag:gw"]}, routable_ips=["10.0.0.0/24", "192.168.0.0/24"])
    assert node.approved_routes == (LAN,)
    other = await rig.join(2, routable_ips=["10.0.1.0/24"])
    assert other.approved_routes == ()
    await rig.service.policies.set(ADMIN, '{"autoApprovers": {"routes": {"10.0.1.0/24": ["alice@"]}}}')
    assert rig.service.view().nodes[other.id].approved_routes == (ip_network("10.0.1.0/24"),)


async def test_ok__policy_versions(rig):
    one, two = await rig.join(1), await rig.join(2)
    text = '// kept\n{"acls": []}'
    record, warnings = await rig.service.policies.set(ADMIN, text, base_version=0)
    assert (record.version, warnings) == (1, ())
    assert rig.changes[-1].everything
    assert not rig.service.view().are_peers(one.id, two.id)
    assert rig.service.view().filter_rules(one.id) == ()
    with pytest.raises(ConflictError, match="version 1"):
        await rig.service.policies.set(ADMIN, "{}", base_version=0)
    await rig.reopen()
    assert rig.service.policies.get(ADMIN).text == text
    assert rig.service.view().visible_peers(one.id) == frozenset()


async def test_fail__a_bad_policy_changes_nothing(rig):
    with pytest.raises(PolicyError):
        await rig.service.policies.set(ADMIN, '{"acls": 1}')
    assert rig.service.policies.get(ADMIN).version == 0
    [warning] = rig.service.policies.check(ADMIN, '{"groups": {"group:a": ["zoe@"]}}')
    assert "zoe" in warning.text


async def test_ok__renaming_a_user_recompiles(rig):
    one, two = await rig.join(1), await rig.join(2, "bob")
    acl = '{"action": "accept", "src": ["carol@"], "dst": ["alice@:*"]}'
    await rig.service.policies.set(ADMIN, f'{{"acls": [{acl}]}}')
    assert not rig.service.view().are_peers(one.id, two.id)
    await rig.service.users.rename(ADMIN, "bob", "carol")
    assert rig.changes[-1].everything
    assert rig.service.view().are_peers(one.id, two.id)
