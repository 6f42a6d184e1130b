"""Plugins as the local API shows them, from a real plugin host with the installed plugins."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from appliance.daemon.plugin_desk import PluginDesk
from appliance.localapi.plugin_schema import RunRequest
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.errors import PluginError
from appliance.pluginhost.host import PluginHost

_spec = importlib.util.spec_from_file_location(
    "pluginhost_twins_for_desk", Path(__file__).parents[1] / "pluginhost/conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
twins = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = twins
_spec.loader.exec_module(twins)
install = twins.install
backend = twins.backend

BODY = """
@hookimpl
def appliance_run_command(self, command, arguments):
    return CommandReply("no" if arguments else "yes", ok=not arguments)
"""


async def test_ok__views_and_commands(backend, install) -> None:
    points = [
        install(
            "talker",
            BODY,
            config="limit: int = 3\nnames: tuple[str, ...] = ('a',)",
            hooks=("appliance_run_command",),
            extra='rights = ["status"]\n[plugin.commands]\nask = "Ask it"',
        ),
        install("off"),
        install("broken", api_version=7),
    ]
    host = PluginHost(backend, {"talker": {"limit": 4}, "off": {"enabled": False}}, discovery=discover(points))
    host.load()
    desk = PluginDesk(host)
    broken, off, talker = desk.views()
    assert (talker.state, talker.enabled, talker.rights) == ("running", True, ("status",))
    assert (talker.settings, talker.changed) == ({"limit": 4, "names": ("a",)}, {"limit": 4})
    assert talker.commands == {"ask": "Ask it"}
    assert (off.state, off.enabled, off.settings) == ("disabled", False, {})
    assert broken.state == "refused"
    assert "plugin API 7" in broken.problem
    assert (await desk.run(RunRequest(plugin="talker", command="ask"))).text == "yes"
    assert not (await desk.run(RunRequest(plugin="talker", command="ask", arguments=("x",)))).ok
    for plugin, command, said in (("talker", "dance", "its commands are: ask"), ("off", "ask", "plugins list")):
        with pytest.raises(PluginError) as caught:
            await desk.run(RunRequest(plugin=plugin, command=command))
        assert said in caught.value.mend
