from __future__ import annotations

import re
import tomllib
from pathlib import Path

from appliance.api import ListenPlace, ListenScope
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from plugins.status_page.config import StatusPageConfig
from plugins.status_page.hooks import StatusPage

MANIFEST = tomllib.loads((Path(__file__).parents[1] / "manifest.toml").read_text())["plugin"]


class Listener:
    """All of a socket that addresses need."""

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 5280)


def started() -> StatusPage:
    plugin = StatusPage(now=lambda: 5.0)
    HOOK_CONTRACTS["appliance_start"](plugin, FakeHost("status_page"))
    assert plugin._service is not None
    local = ListenPlace(ListenScope.LOCAL, 5280, "127.0.0.1")
    overlay = ListenPlace(ListenScope.TAILNET, 5280, "fd7a:115c:a1e0::1")
    plugin._service.listeners = {local: Listener(), overlay: Listener()}  # type: ignore[dict-item]  # enough of a socket
    return plugin


async def test_ok__contracts() -> None:
    plugin, host = started(), FakeHost("status_page")
    HOOK_CONTRACTS["appliance_configure"](plugin, host, StatusPageConfig(port=80))
    HOOK_CONTRACTS["appliance_status_panel"](plugin, host)
    HOOK_CONTRACTS["appliance_metrics"](plugin, host)
    HOOK_CONTRACTS["appliance_run_command"](plugin, host, "code")
    assert {name for name in dir(plugin) if name.startswith("appliance_")} == set(MANIFEST["hooks"])


async def test_ok__code_is_printed_with_the_addresses_of_the_mesh_first() -> None:
    plugin = started()
    reply = plugin.appliance_run_command("code")
    assert reply.ok
    urls = re.findall(r"http://\S+/#code=(\S+)", reply.text)
    code = re.search(r"Code: (\S+)", reply.text)
    assert code is not None
    assert urls == [code[1]] * 2
    assert reply.text.index("[fd7a:115c:a1e0::1]") < reply.text.index("127.0.0.1")
    assert plugin._sign_in.redeem(code[1], "::1", bytes(32), 6.0)


async def test_fail__no_code_for_a_page_that_nobody_can_open() -> None:
    reply = StatusPage().appliance_run_command("code")
    assert not reply.ok
    assert "waypost health" in reply.text


async def test_ok__panel_says_where_and_who() -> None:
    plugin = started()
    rows = [(row.label, row.value) for row in plugin.appliance_status_panel().rows]
    assert ("Open at", "http://127.0.0.1:5280/") in rows
    assert any(row.bad for row in StatusPage().appliance_status_panel().rows)
