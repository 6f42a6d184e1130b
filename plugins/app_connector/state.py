"""What the plugin knows, as one value that the panel, the health checks and the metrics are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.api import HostFacts
from plugins.app_connector.apps import App
from plugins.app_connector.config import AppConnectorConfig


@dataclass(frozen=True, slots=True)
class ConnectorState:
    """`approved` are this node's routes as control gave them, None before the first netmap."""

    config: AppConnectorConfig = field(default_factory=AppConnectorConfig)
    apps: tuple[App, ...] = ()
    wrong: tuple[str, ...] = ()
    """Apps of the policy that make no sense."""
    routes: tuple[str, ...] = ()
    approved: frozenset[str] | None = None
    learned: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    """Answers with an address of the app."""
    facts: HostFacts = field(default_factory=HostFacts)

    @property
    def waiting(self) -> tuple[str, ...]:
        if self.approved is None:
            return ()
        return tuple(route for route in self.routes if route not in self.approved)
