"""Each of our own plugins raises in every hook: the others, real ones, go on beside it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from appliance.api import HostFacts, NetmapChange, NodeInfo, OfferedRoute, OfferedRoutes, RelayRequest, hookimpl
from appliance.api.values import Placement
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.host import PluginHost

FOUND = discover()
INLINE = {each.name: each for each in FOUND.candidates if each.manifest.placement is Placement.INLINE}
TABLES = {each: {"enabled": True} for each in INLINE} | {
    "subnet_router": {"advertise_routes": ["192.168.10.0/24"]},
    "wake_on_lan": {"hosts": {"nas": "00:1a:2b:3c:4d:5e"}},
}
DRIVEN = {
    f"appliance_{each}"
    for each in (
        "configure",
        "start",
        "netmap_changed",
        "contribute_hostinfo",
        "contribute_routes",
        "accept_routes",
        "contribute_firewall",
        "relay_request",
        "check_health",
        "status_panel",
        "metrics",
        "run_command",
        "stop",
    )
}
CLIENTS = ("discokey:" + "51" * 32, "discokey:" + "52" * 32)
PEER = NodeInfo("n2", "peer.mesh.example", ("100.64.0.2",), ("192.168.20.0/24",))


def break_every_hook(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hooks that were called, as they come."""
    called: list[str] = []
    module, _, attribute = INLINE[name].target.partition(":")
    plugin = getattr(importlib.import_module(module), attribute)
    for hook in INLINE[name].manifest.hooks:
        monkeypatch.setattr(plugin, hook, hookimpl(raising(hook, called)))
    return called


def raising(hook: str, called: list[str]) -> Any:
    def broken(self: Any) -> None:
        called.append(hook)
        raise RuntimeError(f"{hook} is broken")

    return broken


@pytest.mark.parametrize("name", sorted(INLINE))
async def test_ok__a_plugin_that_raises_everywhere_harms_nobody(
    name: str, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = break_every_hook(name, monkeypatch)
    found = replace(FOUND, candidates=tuple(INLINE.values()))
    host = PluginHost(backend, TABLES, discovery=found)
    host.load()
    host.start()
    host.netmap_changed(NetmapChange(full=True, changed=(PEER,)))
    routes = host.hooks.contribute_routes()
    host.hooks.contribute_hostinfo()
    host.hooks.contribute_firewall()
    host.hooks.accept_routes(OfferedRoutes((OfferedRoute("192.168.20.0/24", "n2"),)), ())
    host.hooks.relay_request(RelayRequest("n2", CLIENTS))
    host.hooks.check_health(HostFacts())
    host.hooks.metrics()
    titles = {shown.plugin for shown in await host.panels()}
    for command in INLINE[name].manifest.commands:
        with pytest.raises(Exception, match="failed"):
            await host.run_command(name, command, ())
    states = {each.name: each.state for each in host.statuses()}
    await host.stop()

    assert set(INLINE[name].manifest.hooks) <= DRIVEN, "this test knows how to call every hook"
    assert set(INLINE[name].manifest.hooks) <= set(called), "every hook was tried"
    assert states.pop(name) == "degraded"
    assert set(states.values()) == {"running"}, states
    assert set(INLINE) - {name} <= titles
    assert routes == (() if name == "subnet_router" else ("192.168.10.0/24",))
