"""The peer API's door: who gets in, what is refused, how many, and where it listens."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import ip_address

import pytest
import uvloop
from aiohttp import web

from appliance.peerapi import server as module
from appliance.peerapi.server import PeerApiServer
from appliance.proto.control import messages as wire
from appliance.types.errors import UnderlayError

from .conftest import PEER, STRANGER, US, World, full_map, wire_node


async def test_ok__peer_learns_who_both_are(world):
    status, answer = await world.ask()
    assert status == 200
    assert "This is gw1.mesh.test, a Waypost 1.2.3 gateway." in answer
    assert f"You are gw2.mesh.test of user2, from {PEER}:" in answer
    assert "X-Frame-Options" not in answer


async def test_ok__head_has_no_body(world):
    status, answer = await world.ask(method="HEAD", host=f"{US}:1")
    assert (status, answer.partition("\r\n\r\n")[2]) == (200, "")


async def test_ok__browsers_get_an_answer_of_which_nothing_can_be_made(world):
    _, answer = await world.ask(headers="User-Agent: Mozilla/5.0\r\n")
    assert "X-Frame-Options: DENY" in answer
    assert "X-Content-Type-Options: nosniff" in answer


async def test_fail__stranger_is_cut_off_without_a_word(world):
    assert await world.ask(source=STRANGER) == (0, "")
    assert world.server.counters["unknown_source"] == 1


async def test_fail__stranger_is_cut_off_before_it_says_anything(world):
    reader, writer = await world.connect(STRANGER)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    assert world.server.counters["unknown_source"] == 1
    writer.close()


async def test_fail__own_address_is_no_peer(world):
    assert await world.ask(source=str(US)) == (0, "")


async def test_fail__nobody_without_a_netmap(world):
    world.server._identify = lambda _source: None
    assert await world.ask() == (0, "")


async def test_fail__peer_that_left_the_mesh_is_cut_off_on_its_open_connection(world):
    reader, writer = await world.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    world.set_map(full_map(wire_node(1, str(US)), wire_node(3, STRANGER)))
    writer.write(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readuntil(b"HTTP/1.1")
    writer.close()


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("example.org:80", ""),
        (str(US), ""),
        ("peer", "Origin: http://example.org\r\n"),
        ("peer", "Referer: http://example.org/\r\n"),
    ],
)
async def test_fail__browser_tricks(world, host, headers):
    status, answer = await world.ask(host=host, headers=headers)
    assert (status, "invalid peerapi request" in answer) == (403, True)


async def test_fail__unknown_path(world):
    status, answer = await world.ask("/v0/nothing")
    assert (status, "unsupported peerapi path" in answer) == (404, True)


async def test_ok__metrics_for_those_who_may_debug(world):
    assert (await world.ask("/v0/metrics"))[0] == 403
    own = wire_node(1, str(US), cap_map={"https://tailscale.com/cap/debug": None})
    grant = wire.CapGrant(dsts=[f"{US}/32"], cap_map={"https://tailscale.com/cap/debug-peer": None})
    rules = [wire.FilterRule(src_ips=[PEER], cap_grant=[grant])]
    world.set_map(full_map(own, wire_node(2, PEER), rules))
    status, answer = await world.ask("/v0/metrics")
    assert (status, "waypost_peers 1" in answer) == (200, True)
    assert (await world.ask("/v0/metrics", method="POST"))[0] == 405
    world.shields_up = True
    assert (await world.ask("/v0/metrics"))[0] == 403


async def test_ok__handler_sees_caller_and_body(world):
    async def put(request):
        body = await request.http.read()
        return web.Response(text=f"{request.caller.node.short_name} {request.http.path} {body.decode()}")

    world.routes.add("/v0/put/", put)
    _, answer = await world.ask("/v0/put/a%20b", method="PUT", headers="Content-Length: 0\r\n")
    assert answer.endswith("gw2 /v0/put/a b ")


async def test_fail__one_peer_cannot_take_all_connections(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS_PER_PEER", 1)
    first = await world.connect()
    first[1].write(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")
    await first[0].readuntil(b"\r\n\r\n")
    assert await world.ask() == (0, "")
    assert world.server.counters["too_many_connections"] == 1
    first[1].close()
    await first[1].wait_closed()
    while world.server._per_source:
        await asyncio.sleep(0)
    assert (await world.ask())[0] == 200


async def test_fail__silent_connection_is_cut_off(world, monkeypatch):
    monkeypatch.setattr(module, "FIRST_REQUEST_S", 0.01)
    reader, writer = await world.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: pe")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_ok__follows_the_addresses(world):
    other = ip_address("127.0.0.9")
    kept = world.server.endpoints
    await world.server.listen([US, other])
    assert set(kept) < set(world.server.endpoints)
    assert world.server.port(4) in {item.port for item in world.server.endpoints}
    await world.server.listen([other])
    assert [item.ip for item in world.server.endpoints] == [str(other)]
    await world.server.close()
    await world.server.close()
    assert world.server.endpoints == ()
    assert world.server.port(4) == world.server.port(6) == 0


async def test_ok__port_is_the_same_at_every_start_and_another_where_it_is_taken():
    tried = []

    def refuse(address, port):
        tried.append(port)
        raise UnderlayError("taken")

    server = PeerApiServer(None, lambda _source: None, refuse)
    assert await server.listen([ip_address("100.64.0.1")]) == (ip_address("100.64.0.1"),)
    assert tried == [58436, 36467, 45098, 55837, 52376, 0]
    assert server.endpoints == ()


def test_fail__stranger_is_cut_off_under_uvloop_too():
    """Its transports are of other classes than asyncio's."""

    async def run():
        world = World()
        await world.server.listen([US])
        assert await world.ask(source=STRANGER) == (0, "")
        assert (await world.ask())[0] == 200
        await world.server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
