"""`PluginsBackend` of the local API over the plugin host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.localapi.plugin_schema import PluginView, RunReply, RunRequest
from appliance.pluginhost.host import PluginHost


class PluginDesk:
    def __init__(self, plugins: PluginHost) -> None:
        self._plugins = plugins

    def views(self) -> Sequence[PluginView]:
        return tuple(self._view(name) for name in (each.name for each in self._plugins.statuses()))

    def _view(self, name: str) -> PluginView:
        status = next(each for each in self._plugins.statuses() if each.name == name)
        manifest = self._plugins.manifest(name)
        enabled, changed, settings = self._plugins.settings(name)
        return PluginView(
            name=name,
            state=status.state,
            enabled=enabled,
            purpose=status.purpose,
            placement=str(status.placement),
            problem=status.problem,
            hooks=manifest.hooks if manifest is not None else (),
            rights=tuple(str(right) for right in manifest.rights) if manifest is not None else (),
            services=status.services,
            commands=manifest.commands if manifest is not None else {},
            settings=_plain(settings),
            changed=_plain(changed),
            failures=status.failures,
            slow_calls=status.slow_calls,
            restarts=status.restarts,
        )

    async def run(self, request: RunRequest) -> RunReply:
        reply = await self._plugins.run_command(request.plugin, request.command, request.arguments)
        return RunReply(text=reply.text, ok=reply.ok)


def _plain(table: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(table, str_keys=True)
    return plain
