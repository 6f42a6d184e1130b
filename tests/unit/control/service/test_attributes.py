"""Custom posture attributes: who sets them, how long they hold, what postures make of them."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from control.mapper.nodes import PeerNodes
from control.mapper.viewer import Viewer
from control.service.actor import Actor
from control.service.errors import DeniedError, NotFoundError, ServiceError
from control.state.records import Role

from .conftest import ADMIN

POLICY = """{
  "postures": {"posture:prod": ["custom:tier == 'prod'"]},
  "attrConfig": {
    "custom:tier": {"type": "string"},
    "custom:level": {"type": "number", "allowSetByNode": true},
  },
  "grants": [{"src": ["*"], "dst": ["*"], "ip": ["22"], "srcPosture": ["posture:prod"]}],
}"""


@pytest.fixture
async def nodes(rig):
    found = [await rig.join(1), await rig.join(2)]
    await rig.service.policies.set(ADMIN, POLICY)
    return found


async def test_ok__a_posture_opens_and_closes_with_the_attribute(rig, nodes):
    one, two = nodes
    view = rig.service.view()
    assert not view.are_peers(one.id, two.id)
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "prod"})
    assert view.are_peers(one.id, two.id)
    assert str(one.ipv4) in view.filter_rules(two.id)[0].src_ips
    assert two.id in rig.changes[-1].refiltered
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "test"})
    assert not view.are_peers(one.id, two.id)
    (entry, *_) = await rig.service.audit.list(ADMIN, action="node.attributes")
    assert (entry.actor, entry.before, entry.after) == ("local:0", '{"custom:tier": "prod"}', '{"custom:tier": "test"}')


async def test_ok__values_survive_a_restart(rig, nodes):
    values = {"custom:tier": "prod", "custom:level": 2.5, "custom:ok": True, "custom:n": 7}
    await rig.service.attributes.set(ADMIN, "gw1", values, life=timedelta(hours=1))
    await rig.reopen()
    node = rig.service.nodes.find("gw1")
    assert {name: node.attributes[name] for name in values} == values
    assert {one.expiry for one in node.custom_attributes} == {rig.clock.wall_now() + timedelta(hours=1)}
    assert rig.service.view().are_peers(*(one.id for one in nodes))


async def test_ok__what_expires_is_taken_away(rig, nodes):
    one, two = nodes
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "prod"}, life=timedelta(minutes=1))
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:other": "x"})
    rig.clock.advance(59)
    await rig.service.sweep()
    assert rig.service.view().are_peers(one.id, two.id)
    rig.clock.advance(6)
    await rig.service.sweep()
    assert not rig.service.view().are_peers(one.id, two.id)
    assert [one.name for one in rig.service.nodes.find("gw1").custom_attributes] == ["custom:other"]
    (entry, *_) = await rig.service.audit.list(ADMIN, action="node.attributes")
    assert entry.actor == "system"


async def test_ok__removed(rig, nodes):
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "prod", "custom:x": 1})
    node = await rig.service.attributes.remove(ADMIN, "gw1", ["custom:tier"])
    assert [one.name for one in node.custom_attributes] == ["custom:x"]
    with pytest.raises(NotFoundError) as caught:
        await rig.service.attributes.remove(ADMIN, "gw1", ["custom:tier"])
    assert "custom:x" in caught.value.mend


REFUSED = [
    ({}, "no attribute"),
    ({"tier": "x"}, "not the name"),
    ({"node:os": "linux"}, "not the name"),
    ({"custom:" + "x" * 44: "x"}, "not the name"),
    ({"custom:a b": "x"}, "not the name"),
    ({"custom:x": "y" * 51}, "longer than 50"),
    ({"custom:x": math.nan}, "finite|kept"),
    ({"custom:tier": 5}, "must be a string"),
    ({"custom:level": "5"}, "must be a number"),
    ({"custom:level": True}, "must be a number"),
    ({f"custom:{number}": number for number in range(65)}, "more than 64"),
]


async def test_fail__values(rig, nodes):
    for values, match in REFUSED:
        with pytest.raises(ServiceError, match=match):
            await rig.service.attributes.set(ADMIN, "gw1", values)
    assert rig.service.nodes.find("gw1").custom_attributes == ()


async def test_fail__who_may(rig, nodes):
    for role in (Role.MEMBER, Role.AUDITOR, Role.NETWORK_ADMIN):
        with pytest.raises(DeniedError):
            await rig.service.attributes.set(Actor("x", role), "gw1", {"custom:x": 1})
        with pytest.raises(DeniedError):
            await rig.service.attributes.remove(Actor("x", role), "gw1", ["custom:x"])
    with pytest.raises(ServiceError, match="gone already"):
        await rig.service.attributes.set(ADMIN, "gw1", {"custom:x": 1}, life=timedelta(0))


async def test_ok__a_node_sets_what_the_policy_leaves_to_it(rig, nodes):
    await rig.service.attributes.set_by_node(nodes[0], {"custom:level": 3})
    assert rig.service.nodes.find("gw1").attributes["custom:level"] == 3
    await rig.service.attributes.set_by_node(nodes[0], {"custom:level": None})
    assert "custom:level" not in rig.service.nodes.find("gw1").attributes
    for update in ({"custom:tier": "prod"}, {"custom:level": 1, "custom:new": 2}, {"node:os": "linux"}):
        with pytest.raises(DeniedError, match="may not set"):
            await rig.service.attributes.set_by_node(nodes[0], update)
    with pytest.raises(ServiceError, match="must be a number"):
        await rig.service.attributes.set_by_node(nodes[0], {"custom:level": "high"})
    assert rig.service.nodes.find("gw1").custom_attributes == ()


SHOWN = """{
  "tagOwners": {"tag:watch": []},
  "attrConfig": {
    "custom:tier": {"type": "string", "broadcastToPeers": ["tag:watch"]},
    "custom:level": {"type": "number"},
  },
}"""


async def test_ok__attributes_are_shown_to_those_that_the_policy_names(rig):
    one, plain = await rig.join(1), await rig.join(2)
    watch = await rig.join(3, None, {"tags": ["tag:watch"]})
    view = rig.service.view()
    viewers = {node.id: Viewer(view, PeerNodes(view), node.id, 130) for node in (plain, watch)}
    seen: dict[int, dict] = {node_id: {} for node_id in viewers}

    def take(messages, node_id):
        for message in messages:
            for peer in (*message.peers, *message.peers_changed):
                if peer.id == one.id:
                    seen[node_id] = peer.cap_map

    def tell(change):
        for node_id, viewer in viewers.items():
            viewer.note(change)
            take(viewer.take(rig.clock.wall_now()), node_id)

    for node_id, viewer in viewers.items():
        take(viewer.full_map(rig.clock.wall_now()), node_id)
    rig.service.subscribe(tell)
    await rig.service.policies.set(ADMIN, SHOWN)
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "prod", "custom:level": 2})
    assert seen == {plain.id: {}, watch.id: {"custom:tier": ["prod"]}}
    await rig.service.attributes.set(ADMIN, "gw1", {"custom:tier": "test"})
    assert seen[watch.id] == {"custom:tier": ["test"]}
    await rig.service.policies.set(ADMIN, SHOWN.replace('tag:watch"]', 'alice@"]'))
    assert seen == {plain.id: {"custom:tier": ["test"]}, watch.id: {}}
    await rig.service.nodes.tag(ADMIN, "gw2", ["tag:watch"])
    assert seen[plain.id] == {}
    await rig.service.policies.set(ADMIN, SHOWN)
    assert seen == {plain.id: {"custom:tier": ["test"]}, watch.id: {"custom:tier": ["test"]}}
    await rig.service.attributes.remove(ADMIN, "gw1", ["custom:tier"])
    assert seen == {plain.id: {}, watch.id: {}}
