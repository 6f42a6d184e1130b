"""A whole gateway: control asks it, peers find its peer API."""

from __future__ import annotations

import json

import pytest

from appliance.types.addresses import AddrPort
from control.service.actor import SYSTEM
from control.service.errors import ServiceError


@pytest.fixture
async def joined(process, url, key, server):
    await process.up(url, key)
    mesh = process.applier.mesh
    await process.until(lambda: mesh.peerapi)
    await process.until(lambda: next(iter(server.service.view().nodes.values())).hostinfo.services)
    return process


def node(server):
    return next(iter(server.service.view().nodes.values()))


async def test_ok__peer_api_is_announced_and_let_through(joined, server):
    own = node(server)
    ports = {service.proto: service.port for service in own.hostinfo.services}
    assert set(ports) == {"peerapi4", "peerapi6"}
    endpoints = {AddrPort(str(own.ipv4), ports["peerapi4"]), AddrPort(str(own.ipv6), ports["peerapi6"])}
    assert set(joined.applier.mesh.peerapi) == endpoints
    table = "\n".join(str(table) for table in joined.host.firewall.tables.values())
    for endpoint in endpoints:
        assert f"daddr {endpoint.ip} tcp dport {endpoint.port} accept" in table


async def test_ok__down_closes_the_peer_api(joined):
    await joined.gateway.down()
    assert joined.applier.mesh.peerapi == ()


async def test_ok__control_asks_whether_it_lives(joined, server):
    assert await server.service.requests.alive(SYSTEM, node(server).given_name) >= 0


async def test_ok__control_asks_for_its_state(joined, server):
    name = node(server).given_name
    echo = await server.service.requests.c2n(SYSTEM, name, "/echo", method="POST", body=b"hello")
    assert (echo.status, echo.body) == (200, "hello")
    netmap = json.loads((await server.service.requests.c2n(SYSTEM, name, "/debug/netmap")).body)
    assert netmap["current"]["self"]["id"] == node(server).id
    prefs = json.loads((await server.service.requests.c2n(SYSTEM, name, "/debug/prefs")).body)
    assert prefs["want_running"] is True
    metrics = (await server.service.requests.c2n(SYSTEM, name, "/debug/metrics")).body
    assert "# TYPE waypost_peers gauge\nwaypost_peers 0\n" in metrics
    assert (await server.service.requests.c2n(SYSTEM, name, "/debug/health")).status == 200
    assert (await server.service.requests.c2n(SYSTEM, name, "/nothing")).status == 400


async def test_fail__ping_of_a_node_that_it_does_not_know(joined, server, monkeypatch):
    monkeypatch.setattr("control.service.requests.PING_S", 0.0)
    monkeypatch.setattr("control.service.requests.SLACK_S", 0.2)
    name = node(server).given_name
    with pytest.raises(ServiceError, match="does not answer"):
        await server.service.requests.ping_peer(SYSTEM, name, name, ["disco"])
