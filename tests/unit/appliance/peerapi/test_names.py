"""`/dns-query` of the peer API: who may ask, what is asked, what comes back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import aiohttp
import dns.message
import dns.rcode
import pytest
from aiohttp import web

from appliance.drivers.streams import SocketDialer
from appliance.peerapi import names
from appliance.peerapi.caller import Caller
from appliance.peerapi.names import add_names, is_filtered, may_ask, onward_resolver
from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import FilterRule, Node, PortRange

KEY = NodePublicKey(bytes(32))
OWN = Node(NodeId(1), StableNodeId("n1"), "own", KEY, user=UserId(1))
PEER = Node(NodeId(2), StableNodeId("n2"), "peer", KEY, user=UserId(2))
V4 = AddrPort("100.64.0.2", 5000)
V6 = AddrPort("fd7a:115c:a1e0::2", 5000)


def rule(ip: str, port: int = 53) -> FilterRule:
    return FilterRule(("*",), (PortRange(ip, port, port),))


def caller(*rules: FilterRule, source: AddrPort = V4, node: Node = PEER) -> Caller:
    return Caller(node, OWN, source, "ann", rules)


@pytest.mark.parametrize(
    ("asking", "offers", "may"),
    [
        (caller(node=replace(PEER, user=UserId(1))), False, True),
        (caller(), True, False),
        (caller(rule("0.0.0.0")), True, True),
        (caller(rule("0.0.0.0")), False, False),
        (caller(rule("0.0.0.0", 80)), True, False),
        (caller(rule("0.0.0.0"), source=V6), True, False),
        (caller(rule("2000::"), source=V6), True, True),
        (caller(rule("0.0.0.0/0")), True, True),
        (caller(FilterRule(("cap:x",), (PortRange("*"),)), node=replace(PEER, cap_map={"x": ()})), True, True),
        (caller(FilterRule(("cap:x",), (PortRange("*"),))), True, False),
    ],
)
def test_ok__who_may_ask(asking: Caller, offers: bool, may: bool) -> None:
    assert may_ask(asking, offers=offers) == may


@pytest.mark.parametrize(
    ("name", "filtered"), [("a.bad", True), ("bad", False), ("one.example", True), ("x.one.example", False)]
)
def test_ok__filtered_names(name: str, filtered: bool) -> None:
    assert is_filtered(name, (".Bad", "one.example")) == filtered


WIRE = dns.message.make_query("www.example", "A").to_wire()
Lookup = Callable[[bytes], Awaitable[bytes]]


class Served:
    """The handler behind a real HTTP server; every caller is the node's own user."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.fails = False
        self.caller = caller(node=replace(PEER, user=UserId(1)))
        routes = PeerRoutes()
        add_names(routes, self._lookup, lambda: False, lambda: ("bad.example",))
        found = routes.find("/dns-query")
        assert found is not None
        self._handler = found

    async def _lookup(self, message: bytes) -> bytes:
        self.asked.append(message)
        if self.fails:
            raise ConnectionRefusedError
        return message[:2] + b"\x81\x80" + message[4:]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._handler(PeerRequest(request, self.caller))


@pytest.fixture
async def served() -> AsyncIterator[tuple[Served, str]]:
    made = Served()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/dns-query"
    await runner.cleanup()


async def test_ok__post_and_get(served: tuple[Served, str]) -> None:
    made, url = served
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=WIRE, headers={"Content-Type": names.TYPE}) as response:
            assert (response.status, response.content_type) == (200, names.TYPE)
            assert (await response.read())[:2] == WIRE[:2]
        encoded = base64.urlsafe_b64encode(WIRE).rstrip(b"=").decode()
        async with session.get(url, params={"dns": encoded}) as response:
            assert response.status == 200
    assert made.asked == [WIRE, WIRE]


async def test_fail__not_answered(served: tuple[Served, str]) -> None:
    made, url = served
    post = {"Content-Type": names.TYPE}
    bad = dns.message.make_query("bad.example", "A").to_wire()
    async with aiohttp.ClientSession() as session:
        for method, given, status in (
            ("POST", {"data": WIRE}, 400),
            ("POST", {"data": b"x", "headers": post}, 400),
            ("POST", {"data": WIRE + bytes(5000), "headers": post}, 400),
            ("GET", {"params": {"dns": "a"}}, 400),
            ("PUT", {"data": WIRE}, 400),
        ):
            async with session.request(method, url, **given) as response:
                assert response.status == status
        async with session.post(url, data=bad, headers=post) as response:
            assert dns.message.from_wire(await response.read()).rcode() == dns.rcode.REFUSED
        assert not made.asked
        made.fails = True
        async with session.post(url, data=WIRE, headers=post) as response:
            assert response.status == 500
        made.caller = caller()
        async with session.post(url, data=WIRE, headers=post) as response:
            assert response.status == 403


class Resolver:
    """A DNS server on TCP that answers everything with `reply`; without one it ends the connection."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        await reader.readexactly(size)
        if self.reply:
            writer.write(len(self.reply).to_bytes(2, "big") + self.reply)
        writer.close()


async def own(message: bytes) -> bytes:
    return b"own " + message


async def test_ok__beyond_an_uplink_only_its_resolvers_are_asked() -> None:
    places: list[str] | None = None
    lookup = onward_resolver(own, lambda: places, SocketDialer(mark=0))
    assert await lookup(b"question") == b"own question"
    async with Resolver(b"") as silent, Resolver(b"beyond") as good:
        places = [silent, good]
        assert await lookup(b"question") == b"beyond"
        places = [silent]
        with pytest.raises(EOFError):
            await lookup(b"question")
    with pytest.raises(OSError, match="port"):
        await lookup(b"question")
    places = []
    with pytest.raises(EOFError, match="no resolver is named"):
        await lookup(b"question")
