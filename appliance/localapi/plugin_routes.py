"""The local API's part about plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web

from appliance.localapi.plugin_schema import PluginView, RunReply, RunRequest
from appliance.localapi.schema import API
from appliance.types.errors import ApplianceError


class PluginsBackend(Protocol):
    """Methods raise `ApplianceError`."""

    def views(self) -> Sequence[PluginView]: ...

    async def run(self, request: RunRequest) -> RunReply: ...


@dataclass
class MemoryPlugins:
    """The twin of `PluginsBackend`."""

    shown: tuple[PluginView, ...] = ()
    reply: RunReply = field(default_factory=lambda: RunReply(text="done"))
    asked: list[RunRequest] = field(default_factory=list)

    def views(self) -> Sequence[PluginView]:
        return self.shown

    async def run(self, request: RunRequest) -> RunReply:
        self.asked.append(request)
        return self.reply


def plugin_routes(backend: PluginsBackend, as_json: Callable[[Any], web.Response]) -> list[web.RouteDef]:
    """Rights and errors are the server's middleware's."""

    async def views(_request: web.Request) -> web.Response:
        return as_json(backend.views())

    async def run(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=RunRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ApplianceError(f"the request is not as the schema says: {error}", code="bad-request") from None
        return as_json(await backend.run(wanted))

    return [web.get(f"{API}/plugins", views), web.post(f"{API}/plugins/run", run)]
