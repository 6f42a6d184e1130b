"""Keeps the health items that plugins' checks return; clears those that a check no longer names."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.values import HealthItem
from appliance.pluginhost.backend import HostBackend


class HealthKeeper:
    def __init__(self, backend: HostBackend) -> None:
        self._backend = backend
        self._items: dict[str, dict[str, HealthItem]] = {}

    def replace(self, plugin: str, items: Sequence[HealthItem]) -> None:
        """The plugin's complete list. What did not change is not touched."""
        old = self._items.get(plugin, {})
        new = {item.code: item for item in items}
        for code in old.keys() - new.keys():
            self._backend.clear_health(plugin, code)
        for code, item in new.items():
            if old.get(code) != item:
                self._backend.set_health(plugin, item)
        self._items[plugin] = new
