"""Admission by URL (derp spec 3.6) against a real HTTP server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from appliance.types.errors import ControlError
from appliance.types.keys import NodePublicKey
from control.derp.verify import UrlAdmission

KEY = NodePublicKey(b"\x44" * 32)
Serve = Callable[[int, str], Awaitable[tuple[str, list[str]]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def begin(status: int, answer: str) -> tuple[str, list[str]]:
        asked: list[str] = []

        async def handle(request: web.Request) -> web.Response:
            asked.append(await request.text())
            return web.Response(status=status, text=answer)

        app = web.Application()
        app.router.add_post("/verify", handle)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/verify", asked

    yield begin
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "answer", "allowed"),
    [
        (200, '{"Allow":true}', True),
        (200, '{"Allow":false}', False),
        (200, '{"Allow":"yes"}', False),
        (200, "[]", False),
        (200, "{" * 3000, False),
        (500, '{"Allow":true}', False),
    ],
)
async def test_ok__answer_decides(serve: Serve, status: int, answer: str, allowed: bool) -> None:
    url, asked = await serve(status, answer)
    admission = UrlAdmission(url, fail_open=True)
    assert await admission.admit(KEY, "192.0.2.7") is allowed
    await admission.close()
    assert json.loads(asked[0]) == {"NodePublic": str(KEY), "Source": "192.0.2.7"}


async def test_fail__nobody_answers() -> None:
    dead = "http://127.0.0.1:1/verify"
    closed, opened = UrlAdmission(dead, fail_open=False), UrlAdmission(dead, fail_open=True)
    with pytest.raises(ControlError, match="does not answer"):
        await closed.admit(KEY, "")
    assert await opened.admit(KEY, "")
    await closed.close()
    await opened.close()
