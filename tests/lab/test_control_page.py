"""The control server's status page in a real Chromium on loopback: sign-in, live, phone, keyboard, foreign hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from appliance.proto.control.messages import Auth, Hostinfo, RegisterRequest
from appliance.types.addresses import AddrPort
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.browser import DARK, DESKTOP, PHONE, chromium, keep_screenshot, overflow, violations

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

NODES = ("site-a", "site-b", "warehouse-behind-the-long-name-of-a-street", "phone", "laptop")


async def join(server: RunningServer, number: int, name: str) -> None:
    """A node of alice's, which offers a subnet where it is a site."""
    service = server.service
    _, secret = await service.keys.create(SYSTEM, user="alice")
    routes = [f"192.168.{number}.0/24"] if name.startswith("site") else []
    request = RegisterRequest(
        version=130,
        node_key=str(NodePublicKey(bytes([number]) * 32)),
        hostinfo=Hostinfo(hostname=name, os="linux", routable_ips=routes),
        auth=Auth(auth_key=secret),
    )
    await service.register(MachinePublicKey(bytes([number]) * 32), request, "192.0.2.9")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    settings = ServerSettings(
        data_dir=tmp_path,
        listen=AddrPort("127.0.0.1", 0),
        derp_host="127.0.0.1",
        derp_listen=AddrPort("127.0.0.1", 0),
        stun_port=0,
    )
    async with running(settings) as made:
        await made.service.users.create(SYSTEM, "alice")
        for number, name in enumerate(NODES, 1):
            await join(made, number, name)
        made.service.session_started(made.service.nodes.find("site-a").id)
        made.service.session_started(made.service.nodes.find("phone").id)
        yield made


async def sign_in(page: Page, server: RunningServer) -> None:
    await page.goto(f"http://127.0.0.1:{server.port}/status#code={server.service.page.issue(SYSTEM)}")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#live")).to_have_text("Live")


@pytest.mark.parametrize(("name", "screen"), [("desktop", DESKTOP), ("phone", PHONE), ("dark", DARK)])
async def test_ok__page_fits_the_screen_and_everybody(server: RunningServer, name: str, screen: dict[str, Any]) -> None:
    async with chromium() as browser:
        page = await (await browser.new_context(**screen)).new_page()
        await sign_in(page, server)
        await expect(page.get_by_role("row").filter(has_text="site-a")).to_contain_text("Online")
        await expect(page.get_by_role("row").filter(has_text="laptop")).to_contain_text("Offline")
        await keep_screenshot(page, f"control-page-{name}")
        assert await overflow(page) <= 0
        assert await violations(page) == []


async def test_ok__a_node_goes_away_under_the_readers_eyes(server: RunningServer) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await sign_in(page, server)
        row = page.get_by_role("row").filter(has_text="phone")
        await expect(row).to_contain_text("Online")
        server.service.session_ended(server.service.nodes.find("phone").id)
        await expect(row).to_contain_text("Offline", timeout=30_000)


async def test_ok__keyboard_alone_and_without_script(server: RunningServer) -> None:
    async with chromium() as browser:
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        await page.goto(f"http://127.0.0.1:{server.port}/status")
        await page.keyboard.press("Tab")
        await page.keyboard.type(server.service.page.issue(SYSTEM))
        await page.keyboard.press("Enter")
        await expect(page.locator("#live")).to_contain_text("As of")
        for _ in range(3):
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("One-time code")).to_be_visible()


async def test_fail__a_rebound_name_and_another_site_get_nothing(server: RunningServer) -> None:
    """`evil.localhost` is loopback to the browser, a foreign host to the server, and no site of ours."""
    async with chromium() as browser:
        page = await browser.new_page()
        await sign_in(page, server)
        answer = await page.goto(f"http://evil.localhost:{server.port}/status")
        assert answer is not None
        assert answer.status == 421
        form = f"<form method=post action='http://127.0.0.1:{server.port}/status/sign-out'><button>go</button></form>"
        await page.goto("data:text/html," + form)
        async with page.expect_navigation():
            await page.get_by_role("button", name="go").click()
        await expect(page.get_by_text("Another site asked for this page")).to_be_visible()
        await page.goto(f"http://127.0.0.1:{server.port}/status")
        await expect(page.locator("#live")).to_have_text("Live")
