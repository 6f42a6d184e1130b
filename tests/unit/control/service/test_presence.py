"""Online states, election, sweeps, and lite updates."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

from appliance.proto.control.messages import Hostinfo, NetInfo
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from control.service.election import elect
from tests.unit.control.service.conftest import ADMIN, node_key

LAN = ip_network("10.0.0.0/24")


async def _after(rig, seconds: float) -> None:
    rig.clock.advance(seconds)
    await rig.service.sweep()


async def test_ok__grace_and_counted_sessions(rig):
    node = await rig.join(1)
    view = rig.service.view()
    rig.service.session_started(node.id)
    rig.service.session_started(node.id)
    rig.service.session_ended(node.id)
    await _after(rig, 60)
    assert view.is_online(node.id)
    rig.service.session_ended(node.id)
    await _after(rig, 9)
    assert view.is_online(node.id)
    rig.service.session_started(node.id)
    await _after(rig, 20)
    assert view.is_online(node.id)
    rig.service.session_ended(node.id)
    await _after(rig, 10)
    assert not view.is_online(node.id)
    assert [dict(change.online) for change in rig.changes if change.online] == [{node.id: True}, {node.id: False}]
    assert view.last_seen(node.id) == rig.clock.wall_now()


async def test_ok__unknown_nodes_are_ignored(rig):
    rig.service.session_started(99)
    rig.service.session_ended(99)
    await rig.service.update_node(99, hostinfo=Hostinfo())
    await _after(rig, 20)
    assert rig.changes == []


async def test_ok__election_keeps_the_current_router(rig):
    one, two = [await rig.join(number, routable_ips=[str(LAN)]) for number in (1, 2)]
    for name in ("gw1", "gw2"):
        await rig.service.routes.approve(ADMIN, name, [str(LAN)])
    view = rig.service.view()
    assert view.primary_of(LAN) is None
    rig.service.session_started(two.id)
    assert view.primary_of(LAN) == two.id
    rig.service.session_started(one.id)
    assert view.primary_of(LAN) == two.id
    rig.service.session_ended(two.id)
    await _after(rig, 10)
    assert view.primary_of(LAN) == one.id
    assert rig.changes[-1].routes_moved == {one.id, two.id}
    rig.service.session_started(two.id)
    assert view.primary_of(LAN) == one.id
    await rig.service.nodes.delete(ADMIN, "gw1")
    assert view.primary_of(LAN) == two.id


def test_ok__elect():
    assert elect({3, 5}, 5, lambda node: True) == 5
    assert elect({3, 5}, 5, lambda node: node == 3) == 3
    assert elect({3, 5}, 5, lambda node: False) == 5
    assert elect({3}, 5, lambda node: False) is None
    assert elect(set(), None, lambda node: True) is None
    assert elect({3, 5}, 5, {3: 1, 5: 1}.get) == 5
    assert elect({3, 5, 7}, 7, {3: 0, 5: 1, 7: 0}.get) == 5
    assert elect({3, 5, 7}, 5, {3: 2, 5: 1, 7: 2}.get) == 3


async def test_ok__ephemeral_nodes_go_after_silence(rig):
    node = await rig.join(1, options={"ephemeral": True})
    kept = await rig.join(2)
    rig.service.session_started(node.id)
    await _after(rig, 500)
    assert node.id in rig.service.view().nodes
    rig.service.session_ended(node.id)
    await _after(rig, 60)
    rig.service.session_started(node.id)
    await _after(rig, 119)
    rig.service.session_ended(node.id)
    await _after(rig, 1)
    await _after(rig, 119)
    assert node.id in rig.service.view().nodes
    await _after(rig, 1)
    assert list(rig.service.view().nodes) == [kept.id]


async def test_ok__an_ephemeral_node_that_never_came_back_goes_after_a_restart(rig):
    await rig.join(1, options={"ephemeral": True})
    await rig.reopen()
    await _after(rig, 1)
    await _after(rig, 120)
    assert not rig.service.view().nodes


async def test_ok__expiry_is_announced(rig):
    node = await rig.join(1)
    other = await rig.join(2)
    await rig.service.nodes.expire(ADMIN, "gw1", rig.clock.wall_now() + timedelta(seconds=30))
    rig.changes.clear()
    await _after(rig, 20)
    assert rig.changes == []
    await _after(rig, 10)
    [change] = rig.changes
    assert change.viewers == {node.id, other.id}
    assert not rig.service.is_known(node_key(1))


async def test_ok__endpoints_are_seen_at_once_and_written_later(rig):
    node, other = await rig.join(1), await rig.join(2)
    disco = DiscoPublicKey(b"d" * 32)
    await rig.service.update_node(node.id, disco_key=disco)
    async with rig.service._core.read() as tx:
        assert (await tx.nodes())[0].disco_key == disco, "peers cut a node off that comes back without its key"
    rig.changes.clear()
    update = {"endpoints": [AddrPort("192.0.2.1", 1)], "endpoint_types": [2], "disco_key": disco}
    await rig.service.update_node(node.id, **update, capability_version=131)
    await rig.service.update_node(node.id, **update, capability_version=131)
    await rig.service.update_node(node.id, disco_key=DiscoPublicKey.zero())
    [change] = rig.changes
    assert change.viewers == {node.id, other.id}
    assert change.refiltered == frozenset()
    now = rig.service.view().nodes[node.id]
    assert (now.endpoints, now.endpoint_types, now.disco_key, now.capability_version) == (
        (AddrPort("192.0.2.1", 1),),
        (2,),
        disco,
        131,
    )
    async with rig.service._core.read() as tx:
        assert (await tx.nodes())[0].endpoints == ()
    await _after(rig, 60)
    async with rig.service._core.read() as tx:
        assert (await tx.nodes())[0].endpoints == now.endpoints


async def test_ok__hostinfo_keeps_net_info_and_ignores_jitter(rig):
    node = await rig.join(1)
    info = Hostinfo(hostname="gw1", net_info=NetInfo(preferred_derp=3, derp_latency={"3-v4": 0.1}))
    await rig.service.update_node(node.id, hostinfo=info)
    assert rig.service.view().nodes[node.id].home_derp == 3
    rig.changes.clear()
    jitter = Hostinfo(hostname="gw1", net_info=NetInfo(preferred_derp=3, derp_latency={"3-v4": 0.2}))
    await rig.service.update_node(node.id, hostinfo=jitter)
    await rig.service.update_node(node.id, hostinfo=Hostinfo(hostname="gw1"))
    assert rig.changes == []
    assert rig.service.view().nodes[node.id].hostinfo == jitter


async def test_ok__names_and_routes_of_hostinfo_are_durable(rig):
    node = await rig.join(1)
    await rig.service.update_node(node.id, hostinfo=Hostinfo(hostname="Büro.lan", routable_ips=["10.0.0.0/24"]))
    async with rig.service._core.read() as tx:
        [stored] = await tx.nodes()
    assert stored.given_name == "xn--bro-hoa"
    assert stored.advertised_routes == (LAN,)
    assert rig.service.view().node_by_name("xn--bro-hoa").id == node.id


async def test_ok__an_oversized_hostinfo_is_ignored(rig):
    node = await rig.join(1)
    await rig.service.update_node(node.id, hostinfo=Hostinfo(hostname="x", package="p" * 70000))
    assert rig.service.view().nodes[node.id] == node
