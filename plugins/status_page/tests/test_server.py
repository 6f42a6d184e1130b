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

from appliance.api import (
    FieldKind,
    GatewayStatus,
    ListenPlace,
    ListenScope,
    Panel,
    PanelForm,
    PeerPath,
    PeerState,
    PluginPanel,
    PluginState,
    SelfState,
    SettingField,
    SettingProblem,
)
from appliance.api.testing import FakeHost
from appliance.types.errors import ApplianceError
from appliance.types.events import BackendState, PathKind
from plugins.status_page import connections, forms, live
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
    paths = ("/", "/settings") if method == "GET" else ("/act", "/settings", "/switch")
    for path in paths:
        async with browser.request(method, f"{page.url}{path}", data=None, headers=headers) as answer:
            assert answer.status == 403
    assert page.host.acts == []
    assert page.service.server.refused == len(paths)


@pytest.mark.parametrize("path", ["/events", "/session", "/act", "/confirm", "/settings", "/switch", "/nothing"])
async def test_fail__nothing_without_a_session(page: Page, path: str) -> None:
    async with ClientSession(cookie_jar=DummyCookieJar()) as stranger:
        method = "POST" if path in ("/act", "/confirm", "/settings", "/switch") else "GET"
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


FORM = {forms.PLUGIN: "router", forms.FORM: "Offer subnets"}
ROUTES = SettingField("routes", FieldKind.LIST, "Prefixes that are offered.", ["10.0.0.0/8"])
TOKEN = SettingField("token", FieldKind.TEXT, secret=True, is_set=True)


def offer_form(page: Page) -> dict[str, str]:
    """Give the gateway a panel with a form; what a browser sends with it."""
    page.host.shown = (PluginPanel("router", Panel("Subnet routes", forms=(PanelForm("Offer subnets"),))),)
    page.host.fields = {"router": (ROUTES, TOKEN)}
    return {**FORM, forms.SEEN: forms.fingerprint((ROUTES, TOKEN))}


async def test_ok__a_panels_form_shows_what_holds_and_sets_what_was_typed(page: Page, browser: ClientSession) -> None:
    hidden = offer_form(page)
    await page.sign_in(browser)
    async with browser.get(page.url) as answer:
        assert "/settings?plugin=router&amp;form=Offer+subnets" in (await answer.text()).replace("%20", "+")
    query = {"plugin": "router", "form": "Offer subnets"}
    async with browser.get(f"{page.url}/settings", params=query) as answer:
        text = await answer.text()
        assert "Prefixes that are offered." in text
        assert "10.0.0.0/8</textarea>" in text
        assert hidden[forms.SEEN] in text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    typed = {**hidden, "routes": "10.0.0.0/8\r\n" + "fd00::/8\r\n" * 1000}
    async with browser.post(f"{page.url}/settings", data=typed, headers=page.own()) as answer:
        assert answer.url.path == "/"
    assert page.host.changes_made == [("router", {"routes": ["10.0.0.0/8", *["fd00::/8"] * 1000]})]


async def test_ok__a_form_that_changes_nothing_and_one_that_resets(page: Page, browser: ClientSession) -> None:
    hidden = offer_form(page)
    await page.sign_in(browser)
    for more, made in (
        ({"routes": "10.0.0.0/8"}, []),
        ({forms.RESET: "on"}, [("router", {"routes": None, "token": None})]),
    ):
        async with browser.post(f"{page.url}/settings", data=hidden | more, headers=page.own()) as answer:
            assert answer.url.path == "/"
        assert page.host.changes_made == made


async def test_fail__a_refused_form_keeps_what_was_typed(page: Page, browser: ClientSession) -> None:
    hidden = offer_form(page)
    await page.sign_in(browser)
    page.host.setting_problems = (
        SettingProblem("routes[0]", "routes[0]: '<b>' is not a prefix", "write 10.0.0.0/8"),
        SettingProblem("", "the gateway is in a bad mood"),
    )
    typed = {**hidden, "routes": "<b>", "token": "hush"}
    async with browser.post(f"{page.url}/settings", data=typed, headers=page.own()) as answer:
        text = await answer.text()
    assert answer.status == 422
    assert "&lt;b&gt;</textarea>" in text
    assert "routes[0]: &#39;&lt;b&gt;&#39; is not a prefix. Write 10.0.0.0/8." in text
    assert 'aria-invalid="true"' in text
    assert "The gateway is in a bad mood." in text
    assert "hush" not in text
    assert page.host.changes_made == []


async def test_fail__a_form_that_is_older_than_the_settings(page: Page, browser: ClientSession) -> None:
    hidden = offer_form(page)
    await page.sign_in(browser)
    page.host.fields = {"router": (replace(ROUTES, value=["192.168.1.0/24"]), TOKEN)}
    typed = {**hidden, "routes": "10.0.0.0/8"}
    async with browser.post(f"{page.url}/settings", data=typed, headers=page.own()) as answer:
        text = await answer.text()
    assert answer.status == 422
    assert "changed by somebody else" in text
    assert "10.0.0.0/8</textarea>" in text
    assert page.host.changes_made == []


async def test_fail__forms_that_are_not_there(page: Page, browser: ClientSession) -> None:
    hidden = offer_form(page)
    await page.sign_in(browser)
    async with browser.get(f"{page.url}/settings", params={"plugin": "router"}) as answer:
        assert answer.status == 409
    big = {**hidden, "routes": "x" * 300_000}
    async with browser.post(f"{page.url}/settings", data=big, headers=page.own()) as answer:
        assert answer.status == 413
    assert page.host.changes_made == []


async def test_ok__a_plugin_is_turned_on_and_off(page: Page, browser: ClientSession) -> None:
    await page.sign_in(browser)
    page.host.gateway = replace(GATEWAY, plugins=(PluginState("mdns", "disabled"), PluginState("dns", "running")))
    async with browser.get(page.url) as answer:
        text = await answer.text()
        assert "Turn on: mdns" in text
        assert "Turn off: dns" in text
    for data in ({"plugin": "mdns", "on": "on"}, {"plugin": "dns"}):
        async with browser.post(f"{page.url}/switch", data=data, headers=page.own()) as answer:
            assert answer.url.path == "/"
    assert page.host.changes_made == [("mdns", {"enabled": True}), ("dns", {"enabled": False})]
    page.host.setting_problems = (SettingProblem("", "there is no such plugin", "look again"),)
    async with browser.post(f"{page.url}/switch", data={"plugin": "x"}, headers=page.own()) as answer:
        assert answer.status == 409
        assert "Look again" in await answer.text()


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
