"""The status page over a real listener: sign-in, guard, sections, bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from appliance.pages.sign_in import (
    MAX_ALL_TRIES,
    MAX_CODES,
    MAX_SESSIONS,
    MAX_TRIES,
    TRY_WINDOW_S,
    CodeRefusedError,
    TooManyTriesError,
)
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control.messages import Auth, Hostinfo, RegisterRequest
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM, Actor
from control.service.page_access import SESSION_LIFE
from control.state.records import Role


@dataclass
class Served:
    server: RunningServer
    browser: ClientSession
    clock: VirtualClock

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def own(self) -> dict[str, str]:
        return {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}

    def code(self) -> str:
        return self.server.service.page.issue(SYSTEM)

    async def post(self, path: str, **form: str) -> tuple[int, str, str]:
        """Status, path after redirects, text."""
        async with self.browser.post(self.url + path, data=form, headers=self.own()) as answer:
            return answer.status, answer.url.path, await answer.text()

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        async with self.browser.get(self.url + path, headers=headers) as answer:
            return answer.status, answer.url.path, await answer.text()

    async def sign_in(self) -> None:
        assert (await self.post("/status/sign-in", code=self.code()))[:2] == (200, "/status")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, stun_port=0)
    clock = VirtualClock()
    async with (
        running(settings, clock=clock, randomness=SeededRandomness("page")) as server,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser,  # keeps cookies of addresses too
    ):
        yield Served(server, browser, clock)


async def test_ok__sign_in_shows_nodes_and_sign_out_ends_it(served: Served) -> None:
    service = served.server.service
    await service.users.create(SYSTEM, "alice")
    _, secret = await service.keys.create(SYSTEM, user="alice")
    hostinfo = Hostinfo(hostname="site-a", os="linux")
    key = str(NodePublicKey(b"n" * 32))
    request = RegisterRequest(version=130, node_key=key, hostinfo=hostinfo, auth=Auth(auth_key=secret))
    await service.register(MachinePublicKey(b"m" * 32), request, "192.0.2.9")
    assert (await served.get("/status"))[1] == "/status/sign-in"
    await served.sign_in()
    status, path, text = await served.get("/status")
    assert (status, path) == (200, "/status")
    assert "control server" in text
    assert "<strong>site-a</strong>" in text
    assert "alice" in text
    assert "There is no relay" in text
    assert (await served.get("/status/sections"))[0] == 200
    assert (await served.post("/status/sign-out"))[1] == "/status/sign-in"
    assert (await served.get("/status/sections"))[0] == 401


async def test_ok__a_waiting_device_is_shown(served: Served) -> None:
    request = RegisterRequest(version=130, node_key=str(NodePublicKey(b"n" * 32)), hostinfo=Hostinfo(hostname="<b>gw"))
    await served.server.service.register(MachinePublicKey(b"m" * 32), request, "192.0.2.9")
    await served.sign_in()
    text = (await served.get("/status"))[2]
    assert "Devices wait to be let in: &lt;b&gt;gw" in text


async def test_ok__cookie_is_kept_from_scripts_and_other_sites(served: Served) -> None:
    form = {"code": served.code()}
    url = f"{served.url}/status/sign-in"
    async with served.browser.post(url, data=form, headers=served.own(), allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


async def test_fail__a_code_works_once_and_a_session_ends(served: Served) -> None:
    code = served.code()
    assert (await served.post("/status/sign-in", code=code.lower().replace("-", " ")))[0] == 200
    status, _, text = await served.post("/status/sign-in", code=code)
    assert status == 403
    assert "waypost-control page" in text
    served.clock.advance(SESSION_LIFE.total_seconds())
    assert (await served.get("/status/sections"))[0] == 401


async def test_fail__guessing_is_stopped(served: Served) -> None:
    statuses = [(await served.post("/status/sign-in", code="0000-0000"))[0] for _ in range(MAX_TRIES + 1)]
    assert statuses == [403] * MAX_TRIES + [429]
    served.clock.advance(TRY_WINDOW_S)
    assert (await served.post("/status/sign-in", code=served.code()))[0] == 200


@pytest.mark.parametrize("path", ["/status", "/status/sections", "/status/sign-in", "/status/static/page.css"])
async def test_fail__foreign_host_and_other_sites(served: Served, path: str) -> None:
    await served.sign_in()
    assert (await served.get(path, Host="evil.example"))[0] == 421
    assert (await served.get(path, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await served.get(path, Origin="http://evil.example"))[0] == 403
    assert served.server.service.page.counters["refused_requests"] == 3


async def test_fail__a_form_without_proof_of_its_site(served: Served) -> None:
    async with served.browser.post(f"{served.url}/status/sign-in", data={"code": served.code()}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    "body", [b"", b"code", b"code=%ff%fe", b"&" * 900, b"a=1&" * 200, b"\xff" * 2000, b"code=" + b"A" * 60_000]
)
async def test_fail__strange_forms(served: Served, body: bytes) -> None:
    headers = {**served.own(), "Content-Type": "application/x-www-form-urlencoded"}
    async with served.browser.post(f"{served.url}/status/sign-in", data=body, headers=headers) as answer:
        assert answer.status == 403


async def test_fail__strange_cookies_and_files(served: Served) -> None:
    for cookie in ("waypost_control_page=", "waypost_control_page=" + "0" * 64, "=;=", "a b;c"):
        assert (await served.get("/status/sections", Cookie=cookie))[0] in (400, 401)
    for name in ("nothing.css", "../render.py", "..%2frender.py"):
        assert (await served.get(f"/status/static/{name}"))[0] == 404


async def test_ok__everything_is_bounded(served: Served) -> None:
    page = served.server.service.page
    codes = [page.issue(SYSTEM) for _ in range(MAX_CODES + 1)]
    with pytest.raises(CodeRefusedError):
        page.redeem(codes[0], "192.0.2.1")
    tokens = [page.redeem(page.issue(SYSTEM), "192.0.2.2") for _ in range(MAX_SESSIONS + 1)]
    assert not page.is_valid(tokens[0])
    assert page.is_valid(tokens[-1])
    page.end(tokens[-1])
    assert not page.is_valid(tokens[-1])
    for number in range(MAX_ALL_TRIES - 1):
        with pytest.raises(CodeRefusedError):
            page.redeem("\ud800", f"10.0.{number}.1")
    with pytest.raises(TooManyTriesError):
        page.redeem("wrong", "10.1.0.1")


async def test_fail__a_member_gets_no_code(served: Served) -> None:
    with pytest.raises(ApplianceError):
        served.server.service.page.issue(Actor("alice", Role.MEMBER))
