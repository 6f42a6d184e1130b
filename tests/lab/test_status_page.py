"""The gateway's status page in a real Chromium on loopback.

    FakeHost -- status_page plugin -- 127.0.0.1 -- Chromium

Sign-in, live change of a peer's path, phone, keyboard alone, no script, foreign hosts and sites, accessibility.
Screenshots are kept under var/test-output.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from appliance.api import PeerPath
from appliance.api.testing import FakeHost
from appliance.types.events import PathKind
from plugins.status_page.hooks import StatusPage
from plugins.status_page.service import PageService
from tests.lab import page_world
from tests.lab.browser import DARK, DESKTOP, PHONE, chromium, keep_screenshot, overflow, violations

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@dataclass
class Gateway:
    """A served page."""

    host: FakeHost
    plugin: StatusPage
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def code(self) -> str:
        return self.plugin.appliance_run_command("code").text.partition("Code: ")[2].split()[0]

    def show(self, **paths: PeerPath) -> None:
        """Peers have these paths now."""
        self.host.gateway = page_world.gateway(**paths)
        self.host.feed.note("path")


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    host = FakeHost("status_page")
    host.gateway, host.shown = page_world.gateway(), page_world.panels()
    plugin = StatusPage()
    (service,) = plugin.appliance_start(host)
    assert isinstance(service, PageService)
    task = asyncio.ensure_future(service.run())
    await asyncio.wait_for(service.ready.wait(), 5)
    place = next(place for place in service.listeners if place.address == "127.0.0.1")
    yield Gateway(host, plugin, service.listeners[place].getsockname()[1])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@asynccontextmanager
async def opened(browser: Browser, gateway: Gateway, screen: dict[str, Any]) -> AsyncIterator[Page]:
    """A tab that is signed in and live; it must not have complained of anything."""
    context = await browser.new_context(**screen)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{gateway.url}/#code={gateway.code()}")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#live")).to_have_text("Live")
    yield page
    await context.close()
    assert not complaints


@pytest.mark.parametrize(("name", "screen"), [("desktop", DESKTOP), ("phone", PHONE), ("dark", DARK)])
async def test_ok__page_fits_the_screen_and_everybody(
    gateway: Gateway, browser: Browser, name: str, screen: dict[str, Any]
) -> None:
    async with opened(browser, gateway, screen) as page:
        await expect(page.get_by_role("heading", name="site-a", level=1)).to_be_visible()
        await page.get_by_text("Stop using peers' subnets").first.click()
        await keep_screenshot(page, f"status-page-{name}")
        assert await overflow(page) <= 0
        assert await violations(page) == []
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("One-time code")).to_be_focused()
        await keep_screenshot(page, f"status-page-{name}-sign-in")
        assert await overflow(page) <= 0
        assert await violations(page) == []


async def test_ok__a_path_changes_under_the_readers_eyes(gateway: Gateway, browser: Browser) -> None:
    async with opened(browser, gateway, DESKTOP) as page:
        row = page.get_by_role("row").filter(has_text="warehouse.mesh.internal")
        await expect(row.get_by_text("DERP", exact=True)).to_be_visible()
        action = page.get_by_text("Stop using peers' subnets").first
        await action.click()
        await action.focus()
        gateway.show(warehouse=PeerPath(PathKind.DIRECT, "203.0.113.77:41641", latency_s=0.002))
        await expect(row.get_by_text("Direct", exact=True)).to_be_visible()
        await expect(row).to_contain_text("203.0.113.77:41641")
        await expect(row).to_contain_text("2.0 ms")
        await expect(action).to_be_focused()
        await expect(page.get_by_role("button", name="Apply now")).to_be_visible()


async def test_ok__a_lost_gateway_is_said_and_found_again(gateway: Gateway, browser: Browser) -> None:
    async with opened(browser, gateway, DESKTOP) as page:
        await page.context.set_offline(True)
        service = gateway.plugin._service
        assert service is not None
        for protocol in tuple(service.server._runner.server.connections):  # type: ignore[union-attr]  # it is up
            protocol.transport.abort()
        await expect(page.locator("#live")).to_contain_text("Connection lost")
        await page.context.set_offline(False)
        gateway.show(warehouse=PeerPath(PathKind.PEER_RELAY, "203.0.113.9:7777"))
        await expect(page.locator("#live")).to_have_text("Live", timeout=15_000)
        await expect(page.get_by_text("2 by peer relay")).to_be_visible()


async def test_ok__keyboard_alone(gateway: Gateway, browser: Browser) -> None:
    context = await browser.new_context(**DESKTOP)
    page = await context.new_page()
    await page.goto(f"{gateway.url}/")
    await page.keyboard.type(gateway.code().lower())
    await page.keyboard.press("Enter")
    await expect(page.locator("#live")).to_have_text("Live")
    reached = [await _tab(page) for _ in range(4)]
    assert reached == ["Skip to content", "Sign out", "Find a peer", "Stop using peers' subnets"]
    for _ in range(3):
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "content"
    assert await _tab(page) == "Find a peer"
    await page.keyboard.type("phone")
    await expect(page.get_by_role("rowheader").filter(has_text="workshop")).to_be_hidden()
    assert await _tab(page) == "Stop using peers' subnets"
    await page.keyboard.press("Enter")
    await _tab(page)
    await page.keyboard.press("Enter")
    await expect(page.locator("#live")).to_have_text("Live")
    assert gateway.host.acts == [("subnet_router", "Stop using peers' subnets")]
    await context.close()


async def _tab(page: Page) -> str:
    """Press Tab; what has the focus then, by its words."""
    await page.keyboard.press("Tab")
    return str(await page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"))


async def test_ok__without_script(gateway: Gateway, browser: Browser) -> None:
    context = await browser.new_context(**DESKTOP, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{gateway.url}/")
    await page.get_by_label("One-time code").fill(gateway.code())
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#live")).to_contain_text("As of 2026-01-01 00:00 UTC")
    await expect(page.get_by_role("row").filter(has_text="warehouse.mesh")).to_contain_text("DERP")
    gateway.show(warehouse=PeerPath(PathKind.DIRECT, "203.0.113.77:41641"))
    await page.get_by_role("link", name="Reload").click()
    await expect(page.get_by_role("row").filter(has_text="warehouse.mesh")).to_contain_text("Direct")
    await context.close()


async def test_fail__wrong_code_is_told(gateway: Gateway, browser: Browser) -> None:
    context = await browser.new_context(**PHONE)
    page = await context.new_page()
    await page.goto(f"{gateway.url}/sign-in")
    await page.get_by_label("One-time code").fill("0000-0000")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("waypost page")
    await keep_screenshot(page, "status-page-wrong-code")
    assert await violations(page) == []
    await context.close()


async def test_fail__a_rebound_name_and_another_site_get_nothing(gateway: Gateway, browser: Browser) -> None:
    """`evil.localhost` is loopback to the browser, a foreign host to the gateway, and no site of ours."""
    context = await browser.new_context(**DESKTOP)
    page = await context.new_page()
    await page.goto(f"{gateway.url}/#code={gateway.code()}")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#live")).to_have_text("Live")
    answer = await page.goto(f"http://evil.localhost:{gateway.port}/")
    assert answer is not None
    assert answer.status == 421
    await keep_screenshot(page, "status-page-refused")
    reached = await page.evaluate(
        "url => fetch(url, {mode: 'no-cors', credentials: 'include'}).then(() => 'reached', () => 'refused')",
        f"{gateway.url}/act",
    )
    assert reached == "refused"
    refused = gateway.plugin._service
    assert refused is not None
    form = f"<form method=post action='{gateway.url}/act'><input name=plugin value=x><button>go</button></form>"
    await page.goto("data:text/html," + form)
    async with page.expect_navigation():
        await page.get_by_role("button", name="go").click()
    await expect(page.get_by_text("Another site asked for this page")).to_be_visible()
    assert gateway.host.acts == []
    await context.close()
