"""The local API's part about the doctor. It reads and measures only, so everyone may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from appliance.localapi.schema import API
from appliance.types.findings import Finding


class DoctorBackend(Protocol):
    async def examine(self) -> Sequence[Finding]:
        """Takes a few seconds."""
        ...


@dataclass
class MemoryDoctor:
    """The twin of `DoctorBackend`."""

    findings: tuple[Finding, ...] = field(default_factory=tuple)

    async def examine(self) -> Sequence[Finding]:
        return self.findings


def doctor_routes(backend: DoctorBackend, as_json: Callable[[Any], web.Response]) -> list[web.RouteDef]:
    """Rights and errors are the server's middleware's."""

    async def examine(_request: web.Request) -> web.Response:
        return as_json(await backend.examine())

    return [web.get(f"{API}/doctor", examine)]
