"""What the policy says of addresses: pools for nodes that join, and maps without IPv4."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest

from control.mapper.nodes import PeerNodes, self_node
from control.service.errors import ConflictError, ServiceError

from .conftest import ADMIN, node_key

POOL = IPv4Network("100.81.0.0/29")
POLICY = """{
  "tagOwners": {"tag:small": [], "tag:wide": []},
  "nodeAttrs": [
    {"target": ["tag:small"], "ipPool": ["100.81.0.0/29", "100.82.0.7/32"]},
    {"target": ["tag:wide", "tag:small"], "ipPool": ["100.90.0.0/16"]},
  ],
}"""


async def _joined(rig, number: int, tag: str = "tag:small"):
    return await rig.join(number, None, {"tags": [tag]})


@pytest.mark.parametrize("random_addresses", [False, True])
async def test_ok__a_new_node_gets_its_address_from_the_first_pool_that_has_one(rig, random_addresses):
    rig.settings = replace(rig.settings, random_addresses=random_addresses)
    await rig.reopen()
    await rig.service.policies.set(ADMIN, POLICY)
    nodes = [await _joined(rig, number) for number in range(1, 7)]
    assert {node.ipv4 for node in nodes} == set(POOL.hosts())
    assert (await _joined(rig, 7)).ipv4 == IPv4Address("100.82.0.7")
    refused = await rig.register(8, await rig.key(None, tags=["tag:small"]))
    assert "is used up" in refused.error
    assert rig.service.view().node_by_key(node_key(8)) is None
    assert (await _joined(rig, 9, "tag:wide")).ipv4 in IPv4Network("100.90.0.0/16")
    assert (await rig.join(10)).ipv4 not in IPv4Network("100.80.0.0/12")


async def test_ok__a_freed_address_is_not_given_at_once_and_existing_ones_stay(rig):
    before = await rig.join(1)
    await rig.service.policies.set(ADMIN, POLICY)
    first, second = await _joined(rig, 2), await _joined(rig, 3)
    await rig.service.nodes.delete(ADMIN, second.given_name)
    await rig.reopen()
    third = await _joined(rig, 4)
    assert [int(one.ipv4) - int(first.ipv4) for one in (second, third)] == [1, 2]
    tagged = await rig.service.nodes.tag(ADMIN, before.given_name, ["tag:small"])
    assert tagged.ipv4 == before.ipv4


@pytest.mark.parametrize(
    "policy",
    ['{"disableIPv4": true}', '{"nodeAttrs": [{"target": ["alice@"], "attr": ["disable-ipv4"]}]}'],
    ids=["everybody", "one user"],
)
async def test_ok__maps_without_ipv4(rig, policy):
    node, viewer = await rig.join(1, "alice"), await rig.join(2, "bob")
    view = rig.service.view()
    peers = PeerNodes(view)

    def shown_peer():
        (peer,) = peers.peers(viewer.id, [node.id])
        return peer

    both = [f"{node.ipv4}/32", f"{node.ipv6}/128"]
    assert shown_peer().addresses == both
    await rig.service.policies.set(ADMIN, policy)
    assert node.id in rig.changes[-1].routes_moved
    shown = shown_peer()
    assert (shown.addresses, shown.allowed_ips) == (both[1:], both[1:])
    own = self_node(view, view.nodes[node.id])
    assert (own.addresses, own.allowed_ips) == (both[1:], both[1:])
    assert "disable-ipv4" in own.cap_map
    assert len(self_node(view, view.nodes[viewer.id]).addresses) == (1 if "true" in policy else 2)
    await rig.service.policies.set(ADMIN, "{}")
    assert node.id in rig.changes[-1].routes_moved
    assert shown_peer().addresses == both


async def test_ok__an_administrator_gives_an_address(rig):
    one, two = await rig.join(1), await rig.join(2)
    moved = await rig.service.nodes.set_address(ADMIN, "gw1", "100.99.0.7")
    assert (str(moved.ipv4), moved.ipv6) == ("100.99.0.7", one.ipv6)
    assert rig.service.nodes.find("100.99.0.7").id == one.id
    assert two.id in rig.changes[-1].viewers
    (peer,) = PeerNodes(rig.service.view()).peers(two.id, [one.id])
    assert peer.addresses[0] == "100.99.0.7/32"
    await rig.service.nodes.set_address(ADMIN, "gw1", "fd7a:115c:a1e0::77")
    await rig.reopen()
    assert [str(one) for one in rig.service.nodes.find("gw1").addresses] == ["100.99.0.7/32", "fd7a:115c:a1e0::77/128"]


async def test_fail__addresses_that_cannot_be_given(rig):
    node = await rig.join(1)
    await rig.join(2)
    for address, error, match in (
        ("100.64.0.2", ConflictError, "belongs to node gw2"),
        ("192.168.1.1", ServiceError, "no address of the overlay"),
        ("100.100.100.100", ServiceError, "no address of the overlay"),
        ("100.115.92.9", ServiceError, "no address of the overlay"),
        ("fd7a:115c:a1e0::53", ServiceError, "no address of the overlay"),
        ("gw9", ServiceError, "not an address"),
    ):
        with pytest.raises(error, match=match):
            await rig.service.nodes.set_address(ADMIN, "gw1", address)
    assert rig.service.nodes.find("gw1").addresses == node.addresses


async def test_ok__expiry_is_moved(rig):
    await rig.join(1)
    await rig.service.nodes.expire(ADMIN, "gw1")
    node = await rig.service.nodes.set_expiry(ADMIN, "gw1", timedelta(hours=1))
    assert node.key_expiry == rig.clock.wall_now() + timedelta(hours=1)
    assert not node.is_expired(rig.clock.wall_now())
    assert (await rig.service.nodes.set_expiry(ADMIN, "gw1", None)).key_expiry is None
    with pytest.raises(ServiceError, match="over already"):
        await rig.service.nodes.set_expiry(ADMIN, "gw1", timedelta(0))
