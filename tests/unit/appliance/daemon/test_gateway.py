"""The state machine with its real control client, router and plugins, on twins of the host."""

from __future__ import annotations

import json

import pytest

from appliance.daemon.peer_lookup import NoSuchPeerError, NotConnectedError
from appliance.localapi.schema import PingRequest, PrefsPatch, UpRequest
from appliance.netmap.errors import BadControlUrl
from appliance.types.errors import ConfigError
from appliance.types.events import BackendState
from appliance.types.keys import NodePrivateKey
from control.service.actor import SYSTEM

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""

ROUTER = {"advertise_routes": ["192.168.10.0/24"], "accept_routes": True}


def stored(host, name):
    (path,) = (path for path in host.store.documents if path.endswith(name))
    return json.loads(host.store.documents[path])["data"]


async def test_ok__fresh_gateway_needs_a_login(process):
    status = process.gateway.status()
    assert status.state is BackendState.NEEDS_LOGIN
    assert status.self_node.hostname
    with pytest.raises(NotConnectedError):
        await process.gateway.ping(PingRequest(target="x"))


async def test_ok__login_with_a_key_configures_the_host(process, url, key):
    await process.up(url, key)
    status = process.gateway.status()
    assert status.state is BackendState.RUNNING
    assert status.control.connected
    assert status.self_node.addresses[0].startswith("100.")
    assert str(process.host.netlink.address_list[0].address).startswith("100.")
    assert ("inet", "waypost") in process.host.firewall.tables
    assert process.engine.private_key is not None


async def test_ok__a_filter_that_another_program_flushed_comes_back(process, url, key):
    await process.up(url, key)
    process.host.firewall.tables.clear()
    await process.until(lambda: ("inet", "waypost") in process.host.firewall.tables)


async def test_ok__login_is_stored_without_the_pre_auth_key(process, url, key):
    await process.up(url, key)
    assert stored(process.host, "keys.json")["control_url"] == url
    prefs = stored(process.host, "prefs.json")
    assert prefs["want_running"]
    assert prefs["control_url"] == url
    assert not any(key.encode() in data for data in process.host.store.documents.values())


async def test_ok__restart_comes_back_without_a_login(start, host, url, key, server):
    first = await start(host)
    await first.up(url, key)
    before = first.gateway.status().self_node
    await first.kill()
    second = await start(host)
    assert second.state is not BackendState.STOPPED  # `waypost up` watches meanwhile and would give up
    await second.until(lambda: second.state is BackendState.RUNNING)
    after = second.gateway.status().self_node
    assert (after.addresses, after.node_key) == (before.addresses, before.node_key)
    assert len(server.service.nodes.list(SYSTEM)) == 1


async def test_fail__bad_key_says_so_and_stores_nothing(process, url):
    await process.up(url, "hskey-auth-nonsense")
    status = process.gateway.status()
    assert status.state is BackendState.NEEDS_LOGIN
    assert status.login_error.code == "bad-auth-key"
    assert "preauthkeys create" in status.login_error.mend
    assert not any(path.endswith(("keys.json", "prefs.json")) for path in process.host.store.documents)


async def test_fail__url_that_is_none_is_refused_at_once(process):
    with pytest.raises(BadControlUrl):
        await process.gateway.up(UpRequest(control_url="not a url"))
    with pytest.raises(BadControlUrl, match="no control server"):
        await process.gateway.up(UpRequest())


async def test_fail__login_elsewhere_that_fails_leaves_the_session(process, url, key):
    await process.up(url, key)
    settings = PrefsPatch(plugins={"subnet_router": ROUTER})
    await process.gateway.up(UpRequest(control_url="http://127.0.0.1:9", auth_key="x", prefs=settings))
    await process.until(lambda: process.gateway.status().login_error)
    status = process.gateway.status()
    assert status.login_error.code == "control-unreachable"
    assert status.state is BackendState.RUNNING
    assert status.control.url == url
    assert status.self_node.advertised_routes == ()
    assert process.gateway.prefs().plugins == {}
    assert stored(process.host, "keys.json")["control_url"] == url


async def test_ok__wrong_settings_are_refused_before_a_login(process, url, key):
    wrong = PrefsPatch(plugins={"subnet_router": {"snat": "maybe"}})
    with pytest.raises(ConfigError, match=r"plugins\.subnet_router\.snat"):
        await process.gateway.up(UpRequest(control_url=url, auth_key=key, prefs=wrong))
    assert process.state is BackendState.NEEDS_LOGIN


async def test_ok__down_leaves_the_host_clean_and_up_needs_no_key(process, url, key):
    await process.up(url, key)
    await process.gateway.down()
    assert process.state is BackendState.STOPPED
    assert process.host.netlink.address_list == []
    assert process.host.netlink.rule_list == []
    assert process.host.firewall.tables == {}
    await process.up("")
    assert process.state is BackendState.RUNNING
    assert process.host.netlink.address_list


async def test_ok__stopped_stays_stopped_after_a_restart(start, host, url, key):
    first = await start(host)
    await first.up(url, key)
    await first.gateway.down()
    await first.kill()
    second = await start(host)
    assert second.state is BackendState.STOPPED
    assert second.host.netlink.address_list == []


async def test_ok__logout_forgets_the_keys(process, url, key):
    await process.up(url, key)
    await process.gateway.logout()
    assert process.state is BackendState.NEEDS_LOGIN
    assert not any(path.endswith("keys.json") for path in process.host.store.documents)
    assert process.gateway.prefs().logged_out
    await process.up(url, key)
    assert process.state is BackendState.RUNNING


async def test_ok__settings_reach_control_and_the_host(process, url, key, server):
    await process.up(url, key)
    await process.gateway.set_prefs(PrefsPatch(hostname="gw-x", plugins={"subnet_router": ROUTER}))
    (node,) = server.service.nodes.list(SYSTEM)
    await process.until(lambda: server.service.routes.list(SYSTEM, str(node.id)))
    await server.service.routes.approve(SYSTEM, str(node.id), ["192.168.10.0/24"])
    await process.until(lambda: process.gateway.status().self_node.approved_routes == ("192.168.10.0/24",))
    assert process.gateway.status().self_node.advertised_routes == ("192.168.10.0/24",)
    await process.until(lambda: process.host.sysctl.values["net/ipv4/ip_forward"] == "1")
    await process.gateway.set_prefs(PrefsPatch(plugins={"subnet_router": {"advertise_routes": None}}))
    await process.until(lambda: process.gateway.status().self_node.advertised_routes == ())


async def test_fail__unknown_operator(process):
    with pytest.raises(ConfigError, match="no user"):
        await process.gateway.set_prefs(PrefsPatch(operator="nobody-of-that-name"))
    await process.gateway.set_prefs(PrefsPatch(operator="root"))
    assert process.gateway.operator_uid() == 0


async def test_ok__peer_arrives_in_engine_status_and_routes(start, process, url, key, server):
    other = await start(type(process.host)())
    await process.up(url, key, prefs=PrefsPatch(plugins={"subnet_router": {"accept_routes": True}}))
    routes = {"advertise_routes": ["192.168.20.0/24"]}
    await other.up(url, key, prefs=PrefsPatch(hostname="gw-b", plugins={"subnet_router": routes}))
    await process.until(lambda: len(process.engine.peers) == 1)
    await process.until(lambda: server.service.routes.list(SYSTEM, "gw-b"))
    await server.service.routes.approve(SYSTEM, "gw-b", ["192.168.20.0/24"])
    await process.until(lambda: any(route.installed for route in process.gateway.status().routes))
    (peer,) = process.gateway.status().peers
    assert peer.name.partition(".")[0] == "gw-b"
    assert peer.routes == ("192.168.20.0/24",)
    (engine_peer,) = process.engine.peers.values()
    assert "192.168.20.0/24" in [str(prefix) for prefix in engine_peer.allowed_ips]
    await process.until(lambda: "192.168.20.0/24" in [str(place[0]) for place in process.host.netlink.route_map])
    assert process.gateway.netmap()["peers"][0]["hostname"] == "gw-b"


async def test_fail__ping_of_nobody(process, url, key):
    await process.up(url, key)
    with pytest.raises(NoSuchPeerError, match="no peer is named x"):
        await process.gateway.ping(PingRequest(target="x"))
    own = process.gateway.status().self_node.addresses[0]
    with pytest.raises(NoSuchPeerError, match="this gateway itself"):
        await process.gateway.ping(PingRequest(target=own))


async def test_ok__host_that_refuses_is_tried_again(process, url, key):
    process.host.firewall.refuse = "no such kernel module"
    await process.gateway.up(UpRequest(control_url=url, auth_key=key))
    await process.until(lambda: any(item.code == "router" for item in process.gateway.status().health))
    assert process.gateway.status().waiting_for == "setting up addresses, routes and filter"
    process.host.firewall.refuse = ""
    process.applier.repair()
    await process.gateway.set_prefs(PrefsPatch(shields_up=True))
    await process.until(lambda: process.state is BackendState.RUNNING)
    assert not [item for item in process.gateway.status().health if item.code == "router"]


async def test_ok__events_are_remembered_and_told(process, url, key):
    seen = []
    end = process.gateway.subscribe(seen.append)
    await process.up(url, key)
    end()
    assert [line.fields["state"] for line in seen if line.kind == "state"][-1] == "running"
    assert len(process.gateway.recent_events()) >= len(seen)


async def test_ok__node_key_in_use_is_the_stored_one(process, url, key):
    await process.up(url, key)
    assert process.engine.private_key == NodePrivateKey.parse(stored(process.host, "keys.json")["node_key"])


async def test_ok__systemd_hears_how_it_goes(process, url, key):
    await process.up(url, key)
    await process.keeper.tick()
    assert process.host.manager.said[0] == "ready"
    assert process.host.manager.said[-1] == "running, 0 peers"


async def test_ok__expired_login_says_so_and_a_new_key_mends_it(process, url, key, server):
    await process.up(url, key, prefs=PrefsPatch(hostname="gw-a"))
    before = process.gateway.status().self_node
    await server.service.nodes.expire(SYSTEM, "gw-a")
    await process.until(lambda: process.state is BackendState.NEEDS_LOGIN)
    error = process.gateway.status().login_error
    assert error.code == "needs-login"
    assert "waypost login" in error.mend
    await process.gateway.up(UpRequest(auth_key=key))
    await process.until(lambda: process.state is BackendState.RUNNING)
    after = process.gateway.status().self_node
    assert after.addresses == before.addresses
    assert after.node_key != before.node_key


async def test_ok__new_hostname_becomes_the_name_in_the_mesh(process, url, key, server):
    await process.up(url, key, prefs=PrefsPatch(hostname="gw-a"))
    (node,) = server.service.nodes.list(SYSTEM)
    assert node.given_name == "gw-a"
    await process.gateway.set_prefs(PrefsPatch(hostname="Gw-B"))
    await process.until(lambda: process.gateway.status().self_node.name.startswith("gw-b."))
    assert server.service.nodes.show(SYSTEM, "gw-b").id == node.id
    await server.service.nodes.rename(SYSTEM, "gw-b", "office")
    await process.gateway.set_prefs(PrefsPatch(hostname="gw-c"))
    await process.until(lambda: process.gateway.status().self_node.hostname == "gw-c")
    assert process.gateway.status().self_node.name.startswith("office.")
