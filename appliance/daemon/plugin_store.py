"""The plugins' key-value store: one document per plugin, written together with others at most once a minute."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from appliance.ports.clock import Clock
from appliance.ports.store import StateStore
from appliance.state.coalesce import CoalescedWriter
from appliance.state.document import DamagedStateError, Document
from appliance.types.errors import StateError


class _Values(msgspec.Struct, frozen=True):
    """Base64 by name."""

    values: dict[str, str] = {}


class PluginStore:
    """`folder` is the profile's; `on_error` gets what goes wrong with the disk, for a health item."""

    def __init__(self, store: StateStore, folder: str, clock: Clock, on_error: Callable[[StateError], None]) -> None:
        self._store = store
        self._folder = folder
        self._on_error = on_error
        self._values: dict[str, dict[str, str]] = {}
        self._changed: set[str] = set()
        self._writer = CoalescedWriter(self._write, clock, on_error=on_error)

    def get(self, plugin: str, name: str) -> bytes | None:
        text = self._table(plugin).get(name)
        return None if text is None else base64.b64decode(text)

    def put(self, plugin: str, name: str, value: bytes) -> None:
        self._table(plugin)[name] = base64.b64encode(value).decode()
        self._mark(plugin)

    def delete(self, plugin: str, name: str) -> None:
        if self._table(plugin).pop(name, None) is not None:
            self._mark(plugin)

    async def poll(self) -> None:
        await self._writer.poll()

    async def flush(self) -> None:
        await self._writer.flush()

    def _mark(self, plugin: str) -> None:
        self._changed.add(plugin)
        self._writer.mark()

    def _table(self, plugin: str) -> dict[str, str]:
        if plugin not in self._values:
            self._values[plugin] = self._load(plugin)
        return self._values[plugin]

    def _load(self, plugin: str) -> dict[str, str]:
        document = self._document(plugin)
        try:
            stored = document.load()
        except DamagedStateError as error:
            aside = self._store.set_aside(document.name)
            text = f"what the plugin {plugin} kept is damaged and was set aside as {aside}"
            self._on_error(StateError(text, mend=error.mend, code="plugin-store-damaged"))
            return {}
        return dict(stored.values) if stored is not None else {}

    def _write(self) -> None:
        """In a worker thread; what changes meanwhile marks itself again."""
        while self._changed:
            plugin = self._changed.pop()
            self._document(plugin).save(_Values(dict(self._values[plugin])))

    def _document(self, plugin: str) -> Document[_Values]:
        return Document(self._store, f"{self._folder}/plugins/{plugin}.json", _Values)
