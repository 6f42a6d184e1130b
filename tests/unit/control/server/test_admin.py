"""The admin socket against requests that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SeededRandomness
from control.server.admin import AdminServer
from control.service.service import open_service
from control.service.settings import ServiceSettings

BASE = "http://waypost-control/v1"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    service = await open_service(
        tmp_path, ServiceSettings(domain="mesh.test"), clock=SystemClock(), randomness=SeededRandomness(1)
    )
    service.counters.add("front", lambda: {"bad_request_too-long": 2})
    server = AdminServer(service, tmp_path / "s")
    await server.start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as one:
        yield one
    await server.close()
    await service.close()


@pytest.mark.parametrize(
    "body",
    [b"[", b"[]", b'{"name": 5}', b'{"name": "\xff"}', b'{"unknown": ' + b"[" * 20_000],
    ids=["cut", "list", "number", "not UTF-8", "deep"],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "users"), ("POST", "policy/check"), ("PATCH", "nodes/x")])
async def test_fail__bad_body(session: aiohttp.ClientSession, method: str, path: str, body: bytes) -> None:
    async with session.request(method, f"{BASE}/{path}", data=body) as response:
        assert response.status == 400
        assert (await response.json())["text"].startswith("the request cannot be read")
    async with session.get(f"{BASE}/users") as response:
        assert await response.json() == []


@pytest.mark.parametrize("headers", [{"Host": "localhost"}, {"Origin": "http://evil.example"}])
async def test_fail__requests_that_a_page_could_make(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with session.get(f"{BASE}/users", headers=headers) as response:
        assert response.status == 403


async def test_ok__counters_of_the_parts(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{BASE}/counters") as response:
        assert await response.json() == {"front": {"bad_request_too-long": 2}}
