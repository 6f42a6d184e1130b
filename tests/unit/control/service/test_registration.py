"""Registration, in the decision order of control-protocol spec 7.4."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from appliance.proto.control.messages import LOGOUT_EXPIRY, Auth, RegisterRequest
from control.service.actor import SYSTEM
from tests.unit.control.service.conftest import ADMIN, machine, node_key


async def test_ok__a_first_node(rig):
    answer = await rig.register(1, await rig.key(), os="linux")
    assert (answer.error, answer.machine_authorized, answer.node_key_expired) == ("", True, False)
    assert (answer.login.login_name, answer.user.display_name) == ("alice@example.org", "alice")
    node = rig.service.node_for(machine(1), node_key(1))
    assert (node.given_name, node.ipv4, node.ipv6) == (
        "gw1",
        IPv4Address("100.64.0.1"),
        IPv6Address("fd7a:115c:a1e0::1"),
    )
    assert rig.service.view().fqdn(node) == "gw1.net.example."
    assert rig.changes[-1].nodes[0].before is None
    assert rig.service.is_known(node_key(1))


async def test_ok__no_key_leads_to_a_page(rig):
    answer = await rig.register(1)
    assert answer.auth_url
    assert not answer.machine_authorized


@pytest.mark.parametrize("text", ["nonsense", "wpkey-auth-000000000000-" + "0" * 48])
async def test_fail__unknown_key(rig, text):
    assert "does not exist" in (await rig.register(1, text)).error


async def test_fail__wrong_secret(rig):
    text = await rig.key()
    assert "does not exist" in (await rig.register(1, text[:-1] + ("0" if text[-1] != "0" else "1"))).error


async def test_fail__used_expired_revoked(rig):
    used = await rig.key()
    await rig.register(1, used)
    assert "used already" in (await rig.register(2, used)).error
    short = await rig.key(life=timedelta(hours=1))
    rig.clock.advance(3600)
    assert "expired" in (await rig.register(2, short)).error
    revoked = await rig.key()
    await rig.service.keys.revoke(ADMIN, revoked)
    assert "revoked" in (await rig.register(2, revoked)).error
    assert len(rig.service.view().nodes) == 1


async def test_ok__reusable_key_joins_many_with_distinct_addresses(rig):
    text = await rig.key(reusable=True)
    answers = await asyncio.gather(*(rig.register(number, text) for number in range(1, 8)))
    assert {answer.error for answer in answers} == {""}
    nodes = rig.service.view().nodes.values()
    assert len({node.ipv4 for node in nodes}) == len({node.ipv6 for node in nodes}) == 7


async def test_ok__a_used_single_use_key_repeated_by_its_machine(rig):
    text = await rig.key()
    first, again = await asyncio.gather(rig.register(1, text), rig.register(1, text))
    assert first.error == again.error == ""
    await rig.reopen()
    assert (await rig.register(1, text)).error == ""
    assert len(rig.service.view().nodes) == 1


async def test_fail__a_used_key_does_not_rotate(rig):
    text = await rig.key()
    await rig.register(1, text)
    assert "used already" in (await rig.register(1, text, key=9)).error
    assert rig.service.node_for(machine(1), node_key(1)) is not None


async def test_fail__node_key_of_another_machine(rig):
    await rig.join(1)
    assert "another machine" in (await rig.register(2, await rig.key(), key=1)).error
    assert rig.service.node_for(machine(2), node_key(1)) is None


async def test_ok__rotation_keeps_identity(rig):
    before = await rig.join(1)
    assert (await rig.register(1, await rig.key(), key=9)).error == ""
    after = rig.service.node_for(machine(1), node_key(9))
    for name in ("id", "stable_id", "ipv4", "ipv6", "given_name"):
        assert getattr(after, name) == getattr(before, name)
    assert rig.service.node_for(machine(1), node_key(1)) is None
    assert rig.changes[-1].nodes[0].before == before


async def test_ok__same_machine_other_owner_is_another_node(rig):
    await rig.join(1)
    assert (await rig.register(1, await rig.key("bob"), key=9)).error == ""
    assert [node.given_name for node in rig.service.view().nodes_of_machine(machine(1))] == ["gw1", "gw1-1"]


async def test_ok__other_owner_with_the_same_node_key_must_make_a_new_one(rig):
    await rig.join(1)
    answer = await rig.register(1, await rig.key("bob"))
    assert answer.node_key_expired
    assert len(rig.service.view().nodes) == 1


async def test_ok__restart_changes_nothing(rig):
    await rig.join(1)
    revision = rig.service.view().revision
    answer = await rig.register(1)
    assert (answer.error, answer.machine_authorized) == ("", True)
    assert rig.service.view().revision == revision


async def test_ok__logout_and_return(rig):
    before = await rig.join(1)
    assert (await rig.register(1, expiry=LOGOUT_EXPIRY)).node_key_expired
    node = rig.service.view().nodes[before.id]
    assert node.key_expiry == rig.clock.wall_now()
    assert not rig.service.is_known(node_key(1))
    assert (await rig.register(1)).node_key_expired
    assert (await rig.register(1, await rig.key(), key=9)).error == ""
    assert rig.service.view().nodes[before.id].key_expiry is None


async def test_fail__logout_from_another_machine_does_nothing(rig):
    await rig.join(1)
    request = RegisterRequest(node_key=str(node_key(1)), expiry=LOGOUT_EXPIRY)
    await rig.service.register(machine(2), request, "")
    assert rig.service.is_known(node_key(1))


async def test_ok__an_ephemeral_node_is_gone_at_logout(rig):
    await rig.join(1, options={"ephemeral": True})
    await rig.register(1, expiry=LOGOUT_EXPIRY)
    assert not rig.service.view().nodes


async def test_ok__tagged_key(rig):
    answer = await rig.register(1, await rig.key(None, tags=["tag:gw"]))
    assert (answer.user.id, answer.login.login_name) == (2147455555, "tagged-devices")
    node = rig.service.node_for(machine(1), node_key(1))
    assert (node.user_id, node.tags, node.key_expiry) == (None, ("tag:gw",), None)


async def test_ok__a_tagged_key_takes_over_the_users_node(rig):
    before = await rig.join(1)
    await rig.register(1, await rig.key(None, tags=["tag:gw"]), key=9)
    [node] = rig.service.view().nodes.values()
    assert (node.id, node.user_id, node.tags) == (before.id, None, ("tag:gw",))


async def test_ok__requested_tags_need_ownership(rig):
    await rig.key()
    await rig.service.policies.set(ADMIN, '{"tagOwners": {"tag:a": ["alice@"], "tag:b": []}}')
    refused = await rig.register(1, await rig.key(), request_tags=["tag:b"])
    assert refused.error == "requested tags [tag:b] are invalid or not permitted"
    assert (await rig.register(1, await rig.key(), request_tags=["tag:a"])).error == ""
    assert rig.service.node_for(machine(1), node_key(1)).tags == ("tag:a",)


async def test_ok__a_client_may_ask_for_an_earlier_expiry_only(rig):
    await rig.join(1)
    sooner = rig.clock.wall_now() + timedelta(hours=1)
    await rig.register(1, expiry=sooner.isoformat())
    assert rig.service.node_for(machine(1), node_key(1)).key_expiry == sooner
    await rig.register(1, expiry=(sooner + timedelta(days=9)).isoformat())
    assert rig.service.node_for(machine(1), node_key(1)).key_expiry == sooner


@pytest.mark.parametrize("text", ["", "nodekey:00", "nodekey:" + "0" * 64])
async def test_fail__unreadable(rig, text):
    request = RegisterRequest(node_key=text, auth=Auth(auth_key="x"))
    assert (await rig.service.register(machine(1), request, "")).error


async def test_ok__everything_survives_a_restart(rig):
    node = await rig.join(1, routable_ips=["10.0.0.0/24"])
    await rig.service.routes.approve(ADMIN, "gw1", ["10.0.0.0/24"])
    approved = rig.service.view().nodes[node.id]
    await rig.reopen()
    assert rig.service.view().nodes[node.id] == approved
    assert approved.subnet_routes == (ip_network("10.0.0.0/24"),)
    second = await rig.join(2)
    assert second.ipv4 == IPv4Address("100.64.0.2")


async def test_ok__a_deleted_nodes_address_is_not_given_again(rig):
    first = await rig.join(1)
    await rig.service.nodes.delete(ADMIN, "gw1")
    await rig.reopen()
    second = await rig.join(2)
    assert second.ipv4 > first.ipv4
    assert second.id > first.id


async def test_ok__secrets_are_not_in_the_database(rig):
    text = await rig.key()
    await rig.register(1, text)
    await rig.reopen()
    stored = b"".join(path.read_bytes() for path in rig.path.iterdir())
    assert text.rpartition("-")[2].encode() not in stored
    async with rig.service._core.change(SYSTEM) as draft:
        actions = [entry.action for entry in await draft.tx.audit_entries(10)]
    assert actions == ["node.register", "key.create", "user.create"]
