"""`GET /v1/firewall` as programs call it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import web

from appliance.localapi.firewall_routes import MemoryFirewall, firewall_routes
from appliance.localapi.firewall_schema import FirewallVerdict
from appliance.types.errors import ApplianceError


def as_json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value))


@web.middleware
async def errors(request: web.Request, handler: object) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApplianceError as error:
        return web.Response(status=400, text=error.code)


@pytest.fixture
async def url(tmp_path) -> AsyncIterator[str]:
    app = web.Application(middlewares=[errors])
    app.add_routes(firewall_routes(MemoryFirewall(), as_json))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1/firewall"
    await runner.cleanup()


async def test_ok__verdict(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}?source=a&destination=b&port=22") as response:
        assert msgspec.json.decode(await response.read(), type=FirewallVerdict).rule == 1


@pytest.mark.parametrize("query", ["", "?source=a", "?source=a&destination=b&port=x"])
async def test_fail__query(url: str, query: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + query) as response:
        assert (response.status, await response.text()) == (400, "bad-request")
