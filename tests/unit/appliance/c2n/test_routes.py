"""Control-to-node requests, end to end through the client's responder."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from appliance.c2n.routes import node_routes
from appliance.c2n.table import C2nTable
from appliance.netmap.pings import PingResponder
from appliance.ports.streams import MemoryDialer


class Facts:
    def netmap(self) -> dict[str, Any]:
        return {"domain": "mesh.test"}

    def prefs(self) -> dict[str, Any]:
        return {"shields_up": False}

    def health(self) -> list[dict[str, Any]]:
        return [{"code": "x"}]

    def metrics(self) -> str:
        return "waypost_peers 3\n"

    def counters(self) -> dict[str, int]:
        return {"b": 2, "a": 1}

    async def app_domains(self) -> dict[str, list[str]]:
        return {"shop.example": ["203.0.113.1"]}


async def ask(
    method: str, target: str, body: bytes = b"", headers: str = "", table: C2nTable | None = None
) -> tuple[int, bytes]:
    responder = PingResponder(MemoryDialer(), c2n=(table or node_routes(Facts())).by_path)
    head = f"{method} {target} HTTP/1.1\r\nHost: node\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    reply = await responder.handle(head.encode() + body)
    start, _, rest = reply.partition(b"\r\n\r\n")
    return int(start.split()[1]), rest


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_ok__echo_by_any_method(method: str) -> None:
    assert await ask(method, "/echo", b"hello") == (200, b"hello")


@pytest.mark.parametrize(
    ("method", "target", "answer"),
    [
        ("GET", "/debug/netmap", {"current": {"domain": "mesh.test"}}),
        ("POST", "/debug/netmap", {"current": {"domain": "mesh.test"}}),
        ("GET", "/debug/prefs", {"shields_up": False}),
        ("GET", "/debug/health", [{"code": "x"}]),
        ("GET", "/posture/identity", {"PostureDisabled": True}),
        ("GET", "/tls-cert-status?domain=a.example", {"Missing": True}),
        ("GET", "/vip-services", {"VIPServices": [], "ServicesHash": ""}),
        ("GET", "/appconnector/routes", {"Domains": {"shop.example": ["203.0.113.1"]}}),
    ],
)
async def test_ok__json(method: str, target: str, answer: Any) -> None:
    status, body = await ask(method, target)
    assert (status, json.loads(body)) == (200, answer)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_ok__update_says_that_it_is_not_supported(method: str) -> None:
    answer = json.loads((await ask(method, "/update"))[1])
    assert (answer["Supported"], answer["Enabled"], answer["Started"], bool(answer["Err"])) == (
        False,
        False,
        False,
        True,
    )


async def test_ok__texts() -> None:
    assert await ask("GET", "/debug/metrics") == (200, b"waypost_peers 3\n")
    assert await ask("POST", "/sockstats") == (200, b"a 1\nb 2\n")


async def test_fail__unknown_path_and_wrong_method() -> None:
    assert await ask("GET", "/nothing") == (400, b"unknown c2n path")
    assert (await ask("POST", "/debug/prefs"))[0] == 405
    assert (await ask("GET", "/sockstats"))[0] == 405
    assert (await ask("GET", "/tls-cert-status"))[0] == 400


async def test_fail__two_handlers_of_one_path() -> None:
    table = node_routes(Facts())
    with pytest.raises(ValueError, match="/update"):
        table.add("GET", "/update", lambda _head, _body: (200, "", b""))


async def test_ok__handler_may_take_its_time_but_not_for_ever() -> None:
    table = C2nTable()

    async def slow(_head: object, _body: bytes) -> tuple[int, str, bytes]:
        await asyncio.sleep(0)
        return 200, "text/plain", b"done"

    async def hangs(_head: object, _body: bytes) -> tuple[int, str, bytes]:
        await asyncio.Event().wait()
        return 200, "text/plain", b""

    table.add("GET", "/slow", slow)
    table.add("GET", "/hangs", hangs)
    table.add("GET", "/long", lambda _head, _body: (200, "text/plain", bytes(2 << 20)))
    assert await ask("GET", "/slow", table=table) == (200, b"done")
    assert (await ask("GET", "/hangs", headers="C2n-Handler-Timeout: 10ms\r\n", table=table))[0] == 504
    assert (await ask("GET", "/long", table=table))[0] == 507
