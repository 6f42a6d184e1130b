"""Settings typed into the gateway's page, with the daemon behind it.

gateway: waypostd -- status_page in waypost-apps -- 127.0.0.1:5280 -- Chromium, on the same host
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.lab.browser import CHROMIUM, PHONE, chromium, keep_screenshot, overflow, violations
from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
URL = "http://127.0.0.1:5280"


@pytest.fixture
def gateway(lab: Lab, tmp_path: Path) -> Gateway:
    made = Gateway(lab.namespace("gateway"), tmp_path / "gateway")
    made.start()
    wait_until(lambda: URL in made.run("page").stdout, 30, "the page")
    return made


@asynccontextmanager
async def signed_in(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Page]:
    """A phone on the gateway's own network, with its page open."""
    program = tmp_path / "chromium-there"
    program.write_text(f'#!/bin/sh\nexec {" ".join(gateway.host.enter)} {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    async with chromium(str(program)) as browser:
        page = await browser.new_page(**PHONE)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        code = gateway.must("page").partition("Code: ")[2].split()[0]
        await page.goto(f"{URL}/#code={code}")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#live")).to_have_text("Live")
        yield page
        assert not complaints


async def fill(page: Page, form: str, setting: str, text: str) -> None:
    """Open a form of a panel, type and save."""
    await page.get_by_role("link", name=form).click()
    await page.get_by_label(setting, exact=True).fill(text)
    await page.get_by_role("button", name="Save").click()


async def keep(page: Page) -> None:
    """Back on the page: nothing goes back by itself."""
    await expect(page.locator("#live")).to_have_text("Live")
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.get_by_role("button", name="Keep it")).to_be_hidden()


async def test_ok__a_route_a_resolver_and_a_host_are_typed_on_a_phone(gateway: Gateway, tmp_path: Path) -> None:
    def setting(plugin: str, key: str) -> object:
        return gateway.json("plugins", "config", plugin)["settings"][key]

    async with signed_in(gateway, tmp_path) as page:
        # a prefix that is none: refused at its field, with the mend, the text kept and nothing changed
        await fill(page, "Offer subnets", "Advertise routes", "192.168.10.0/24\n192.168.20.0/99")
        field = page.get_by_label("Advertise routes", exact=True)
        await expect(field).to_have_value("192.168.10.0/24\n192.168.20.0/99")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(page.locator("#setting-advertise_routes-problem")).to_contain_text("192.168.20.0/99")
        await expect(page.locator("#setting-advertise_routes-problem")).to_contain_text("Write")
        assert await overflow(page) <= 0
        assert await violations(page) == []
        await keep_screenshot(page, "status-page-form-refused")
        assert setting("subnet_router", "advertise_routes") == []
        assert gateway.status()["unconfirmed_s"] is None

        await field.fill("192.168.10.0/24\n10.20.0.0/16")
        await page.get_by_role("button", name="Save").click()
        await keep(page)
        assert setting("subnet_router", "advertise_routes") == ["10.20.0.0/16", "192.168.10.0/24"]

        await fill(page, "Resolvers", "Upstreams", "192.0.2.53\ntls://192.0.2.54")
        await keep(page)
        asked = [each["name"] for each in gateway.json("dns", "status")["upstreams"]]
        assert asked == ["192.0.2.53", "tls://192.0.2.54"]

        await fill(page, "Hosts that can be woken", "Hosts", "nas = 00:1a:2b:3c:4d")
        await expect(page.locator("#setting-hosts-problem")).to_contain_text("00:1a:2b:3c:4d:5e")
        await page.get_by_label("Hosts", exact=True).fill("nas = 00:1a:2b:3c:4d:5e")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Wake nas").first).to_be_visible()
        (host,) = gateway.json("wake")
        assert (host["name"], host["mac"]) == ("nas", "00:1a:2b:3c:4d:5e")
        assert gateway.status()["unconfirmed_s"] > 0, "on trial until somebody keeps it"
        await keep(page)

        # settings that lean on each other, and a plugin that is off at first
        await fill(page, "The exit for hosts behind this gateway", "Hosts", "192.168.10.7")
        await expect(page.get_by_role("alert")).to_contain_text("Hosts")
        await expect(page.locator("#setting-hosts-problem")).to_contain_text("--site")
        await page.get_by_role("link", name="Back to the gateway").click()
        await fill(page, "Own apps", "Domains", "shop = shop.example, *.shop.example")
        await keep(page)
        assert setting("app_connector", "domains") == {"shop": ["shop.example", "*.shop.example"]}
        await page.get_by_text("Turn plugins on or off").click()
        assert await overflow(page) <= 0
        assert await violations(page) == []
        await page.get_by_role("button", name="Turn on: mdns_reflector").click()
        await keep(page)
        await fill(page, "Reflect services between sites", "Services", "_ipp._tcp\n_ipps._tcp")
        await keep(page)
        assert setting("mdns_reflector", "services") == ["_ipp._tcp", "_ipps._tcp"]

        # every form of every panel fits the phone
        links = await page.locator(".forms a").evaluate_all("links => links.map(link => link.href)")
        assert len(links) > 15
        for link in links:
            await page.goto(link)
            assert await overflow(page) <= 0, link
        await page.goto(links[0])
        assert await violations(page) == []
        await keep_screenshot(page, "status-page-form")
