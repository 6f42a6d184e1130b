"""The page's server over real sockets: sign-in, guard, live stream, bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, DummyCookieJar

from appliance.api import GatewayStatus, ListenPlace, ListenScope, PeerPath, PeerState, SelfState
from appliance.api.testing import FakeHost
from appliance.types.errors import ApplianceError
from appliance.types.events import BackendState, PathKind
from plugins.status_page import connections, live
from plugins.status_page import service as service_module
from plugins.status_page.config import StatusPageConfig
from plugins.status_page.hooks import StatusPage
from plugins.status_page.service import LISTEN_CODE, PageService

GATEWAY = GatewayStatus(
    "0.1.0",
    BackendState.RUNNING,
    self_node=SelfState("n0", "site-a.mesh.internal", addresses=("100.64.0.1",)),
    peers=(PeerState("n1", "b.mesh.internal", path=PeerPath(PathKind.DERP, region="fra")),),
)


class RealTimeHost(FakeHost):
    """Waits for real: the server's time-outs are real ones too."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


@dataclass
class Page:
    host: FakeHost
    plugin: StatusPage
    service: PageService
    url: str
    now: list[float]

    def code(self) -> str:
        return self.plugin.appliance_run_command("code").text.partition("Code: ")[2].split()[0]

    async def sign_in(self, browser: ClientSession) -> None:
        async with browser.post(f"{self.url}/sign-in", data={"code": self.code()}, headers=self.own()) as answer:
            assert answer.status == 200
            assert answer.url.path == "/"

    def own(self, **more: str) -> dict[str, str]:
        """Headers that a browser sends with the page's own forms."""
        return {"Origin": self.url, "Sec-Fetch-Site": "same-origin", **more}


@asynccontextmanager
async def serving(host: FakeHost, config: StatusPageConfig | None = None) -> AsyncIterator[Page]:
    now = [1000.0]
    plugin = StatusPage(now=lambda: now[0])
    plugin.appliance_configure(config or StatusPageConfig())
    (service,) = plugin.appliance_start(host)
    assert isinstance(service, PageService)
    task = asyncio.ensure_future(service.run())
    async with asyncio.timeout(5):
        await service.ready.wait()
    place = next(place for place in service.listeners if place.address == "127.0.0.1")
    port = service.listeners[place].getsockname()[1]
    yield Page(host, plugin, service, f"http://127.0.0.1:{port}", now)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    host = RealTimeHost("status_page")
    host.gateway = GATEWAY
    async with serving(host) as made:
        yield made


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:  # keeps cookies of addresses too
        yield session


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # what is awaited is state, which wakes nobody
            await asyncio.sleep(0.005)


async def next_sections(stream: Any) -> dict[str, str]:
    while True:
        async with asyncio.timeout(5):
            line = await stream.content.readline()
        if line.startswith(b"data: "):
            return dict(json.loads(line[6:]))


async def test_ok__sign_in_shows_the_page_and_sign_out_ends_it(page: Page, browser: ClientSession) -> None:
    async with browser.get(f"{page.url}/") as answer:
        assert answer.url.path == "/sign-in"
    await page.sign_in(browser)
    async with browser.get(f"{page.url}/") as answer:
        text = await answer.text()
        assert answer.url.path == "/"
        assert "site-a" in text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
    async with browser.post(f"{page.url}/sign-out", headers=page.own()) as answer:
        assert answer.url.path == "/sign-in"
    async with browser.get(f"{page.url}/session") as answer:
        assert answer.status == 401


async def test_ok__cookie_is_kept_from_scripts_and_other_sites(page: Page, browser: ClientSession) -> None:
    data = {"code": page.code()}
    async with browser.post(f"{page.url}/sign-in", data=data, headers=page.own(), allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


async def test_fail__a_code_works_once_and_a_session_ends(page: Page, browser: ClientSession) -> None:
    data = {"code": page.code()}
    async with browser.post(f"{page.url}/sign-in", data=data, headers=page.own()) as answer:
        assert answer.status == 200
    async with browser.post(f"{page.url}/sign-in", data=data, headers=page.own()) as answer:
        assert answer.status == 403
        assert "used already" in await answer.text()
    page.now[0] += 12 * 3600.0
    async with browser.get(f"{page.url}/session") as answer:
        assert answer.status == 401


async def test_fail__guessing_is_stopped(page: Page, browser: ClientSession) -> None:
    statuses = []
    for _ in range(6):
        async with browser.post(f"{page.url}/sign-in", data={"code": "0000-0000"}, headers=page.own()) as answer:
            statuses.append(answer.status)
    assert statuses == [403] * 5 + [429]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/", "/sign-in", "/events", "/static/page.css", "/nothing"])
async def test_fail__foreign_host_is_refused_everywhere(page: Page, browser: ClientSession, path: str) -> None:
    await page.sign_in(browser)
    async with browser.get(f"{page.url}{path}", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", {"Origin": "http://evil.example"}),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}),
        ("POST", {}),
    ],
)
async def test_fail__other_sites_are_refused(
    page: Page, browser: ClientSession, method: str, headers: dict[str, str]
) -> None:
    await page.sign_in(browser)
    path = "/" if method == "GET" else "/act"
    async with browser.request(method, f"{page.url}{path}", data=None, headers=headers) as answer:
        assert answer.status == 403
    assert page.host.acts == []
    assert page.service.server.refused == 1


@pytest.mark.parametrize("path", ["/events", "/session", "/act", "/confirm", "/nothing"])
async def test_fail__nothing_without_a_session(page: Page, path: str) -> None:
    async with ClientSession(cookie_jar=DummyCookieJar()) as stranger:
        method = "POST" if path in ("/act", "/confirm") else "GET"
        async with stranger.request(method, page.url + path, headers=page.own()) as answer:
            assert answer.status == 401
            assert "site-a" not in await answer.text()


async def test_ok__a_changed_path_arrives_by_itself(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    async with browser.get(f"{page.url}/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert "fra" in (await next_sections(stream))["peers"]
        direct = replace(GATEWAY.peers[0], path=PeerPath(PathKind.DIRECT, "192.0.2.7:41641"))
        page.host.gateway = replace(GATEWAY, peers=(direct,))
        page.host.feed.note("path")
        sections = await next_sections(stream)
        assert set(sections) == {"peers"}
        assert "192.0.2.7:41641" in sections["peers"]


async def test_ok__a_session_that_ends_closes_its_stream(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    async with browser.get(f"{page.url}/events") as stream:
        await next_sections(stream)
        page.now[0] += 13 * 3600.0
        page.host.gateway = replace(GATEWAY, version="0.2.0")
        page.host.feed.note("state")
        async with asyncio.timeout(5):
            assert (await stream.content.read()).strip() == b"", "nothing is shown after its end"


async def test_ok__silence_is_filled_with_heartbeats(
    page: Page, browser: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.sign_in(browser)
    page.service.server._heartbeat_s = 0.02
    async with browser.get(f"{page.url}/events") as stream:
        await next_sections(stream)
        line = b""
        while not line.startswith(b": "):
            async with asyncio.timeout(5):
                line = await stream.content.readline()


async def test_fail__too_many_watchers(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    page.service._live.watchers = live.MAX_WATCHERS
    async with browser.get(f"{page.url}/events") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]


async def test_ok__a_panels_button_is_pressed(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    form = {"plugin": "subnet_router", "label": "Use peers' subnets"}
    async with browser.post(f"{page.url}/act", data=form, headers=page.own()) as answer:
        assert answer.url.path == "/"
    assert page.host.acts == [("subnet_router", "Use peers' subnets")]


async def test_ok__settings_on_trial_are_kept_by_a_button(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    async with browser.get(page.url) as answer:
        assert 'action="/confirm"' not in await answer.text()
    page.host.gateway = replace(GATEWAY, unconfirmed_s=50.0)
    async with browser.get(page.url) as answer:
        assert 'action="/confirm"' in await answer.text()
    async with browser.post(f"{page.url}/confirm", headers=page.own()) as answer:
        assert answer.url.path == "/"
    assert page.host.confirms == 1


async def test_fail__a_button_that_fails_says_why(
    page: Page, browser: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(plugin: str, label: str) -> None:
        raise ApplianceError("no such button", mend="reload the page")

    await page.sign_in(browser)
    page.service.server._act = fail
    async with browser.post(f"{page.url}/act", data={"plugin": "x", "label": "y"}, headers=page.own()) as answer:
        assert answer.status == 409
        assert "Reload the page" in await answer.text()


async def test_fail__large_bodies_and_unknown_files(page: Page, browser: ClientSession) -> None:
    async with browser.post(f"{page.url}/sign-in", data={"code": "x" * 8192}, headers=page.own()) as answer:
        assert answer.status == 413
    for name in ("secrets.toml", "..%2fconfig.py", "%2e%2e/config.py"):
        async with browser.get(f"{page.url}/static/{name}") as answer:
            assert answer.status in (401, 404)
            assert "StatusPageConfig" not in await answer.text()


async def test_fail__what_is_no_http_is_counted_and_not_logged(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    host, _, port = page.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-LengHTTP/1.1th: 3\0\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 400 " in await reader.readline()
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert page.service.server.malformed.count == 1
    assert not caplog.records


async def test_fail__silent_connections_are_dropped(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.05)
    host, _, port = page.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\n")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(5):
            await reader.readexactly(1)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_fail__too_many_connections_are_turned_away(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 0)
    host, _, port = page.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(5):
            await reader.readexactly(1)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_ok__listens_where_the_node_has_addresses(page: Page) -> None:
    assert {place.address for place in page.service.listeners} == {"127.0.0.1", "::1", "100.64.0.1"}
    page.host.gateway = replace(GATEWAY, self_node=replace(GATEWAY.self_node, addresses=("100.64.0.9",)))
    page.host.feed.note("netmap")
    overlay = ListenPlace(ListenScope.TAILNET, 5280, "100.64.0.9")
    await until(lambda: overlay in page.service.listeners)
    assert "100.64.0.1" not in {place.address for place in page.service.listeners}
    assert "100.64.0.9" in page.service.server.hosts


async def test_ok__settings_move_the_listeners(page: Page) -> None:
    page.plugin.appliance_configure(StatusPageConfig(port=8099, overlay=False, hosts=("gw.example",)))
    wanted = {ListenPlace(ListenScope.LOCAL, 8099, address) for address in ("127.0.0.1", "::1")}
    await until(lambda: set(page.service.listeners) == wanted)
    assert "gw.example" in page.service.server.hosts


async def test_fail__a_taken_port_is_a_health_item_until_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "FIRST_RETRY_S", 0.001)

    class Taken(RealTimeHost):
        taken = True

        async def listen(self, place: ListenPlace) -> Any:
            if self.taken and place.address == "127.0.0.1":
                raise ApplianceError("127.0.0.1 port 5280 is in use", code="listen-taken")
            return await super().listen(place)

    host = Taken("status_page")
    plugin = StatusPage()
    (service,) = plugin.appliance_start(host)
    assert isinstance(service, PageService)
    task = asyncio.ensure_future(service.run())
    async with asyncio.timeout(5):
        await service.ready.wait()
    await until(lambda: LISTEN_CODE in host.health)
    assert "in use" in host.health[LISTEN_CODE].text
    host.taken = False
    plugin.appliance_configure(StatusPageConfig())
    await until(lambda: LISTEN_CODE not in host.health)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert service.listeners == {}
