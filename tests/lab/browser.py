"""Debian's Chromium for the pages' tests: screenshots are kept, accessibility is checked by axe-core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
DARK: dict[str, Any] = {**DESKTOP, "color_scheme": "dark"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
SCREENS = Path(__file__).resolve().parents[2] / "var/test-output"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@asynccontextmanager
async def chromium(program: str = CHROMIUM) -> AsyncIterator[Browser]:
    """`program` starts it, on another host of the lab perhaps."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=list(FLAGS), headless=True)
        try:
            yield browser
        finally:
            await browser.close()


async def keep_screenshot(page: Page, name: str) -> None:
    """A picture of the whole page under `var/test-output`."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENS / f"{name}.png", full_page=True)


async def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and good practice: rule and place.

    The script goes in by the debugging protocol, past the page's content security policy.
    """
    source = f"{AXE.read_text()}\n;axe.run({{runOnly: {RULES}}})"
    found = (await page.evaluate(source))["violations"]
    return [f"{rule['id']}: {node['target']}" for rule in found for node in rule["nodes"]]


async def overflow(page: Page) -> int:
    """CSS pixels by which the page is wider than the screen."""
    return int(await page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
