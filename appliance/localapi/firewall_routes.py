"""The local API's part about the packet filter. It reads only, so everyone may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from aiohttp import web

from appliance.localapi.firewall_schema import FirewallQuery, FirewallVerdict
from appliance.localapi.schema import API
from appliance.types.errors import ApplianceError


class FirewallBackend(Protocol):
    """Methods raise `ApplianceError`."""

    def explain(self, query: FirewallQuery) -> FirewallVerdict: ...


@dataclass
class MemoryFirewall:
    """The twin of `FirewallBackend`: lets through what goes to `open_ports`."""

    open_ports: frozenset[int] = frozenset({22})
    asked: list[FirewallQuery] = field(default_factory=list)

    def explain(self, query: FirewallQuery) -> FirewallVerdict:
        self.asked.append(query)
        accepted = query.port in self.open_ports
        reason = "accepted by filter rule 1 of 1" if accepted else "no filter rule lets it"
        packet = f"{query.protocol} from {query.source} to {query.destination} port {query.port}"
        return FirewallVerdict(accepted=accepted, reason=reason, packet=packet, rule=1 if accepted else None)


def firewall_routes(backend: FirewallBackend, as_json: Callable[[Any], web.Response]) -> list[web.RouteDef]:
    """Rights and errors are the server's middleware's."""

    async def explain(request: web.Request) -> web.Response:
        try:
            query = msgspec.convert(dict(request.query), FirewallQuery, strict=False)
        except msgspec.ValidationError as error:
            raise ApplianceError(f"the request is not as the schema says: {error}", code="bad-request") from None
        return as_json(backend.explain(query))

    return [web.get(f"{API}/firewall", explain)]
