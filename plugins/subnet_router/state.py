"""What the plugin knows, as one value that the panel, the health checks and the metrics are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.api import HostFacts, RouteSelection
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.rules import unapproved


@dataclass(frozen=True, slots=True)
class RouterState:
    """`approved` are this node's routes as control gave them; None: no netmap yet."""

    config: SubnetRouterConfig = field(default_factory=SubnetRouterConfig)
    approved: tuple[str, ...] | None = None
    selection: RouteSelection = field(default_factory=RouteSelection)
    facts: HostFacts = field(default_factory=HostFacts)
    offering: int = 0
    """Number of peers that offer subnets."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Advertised prefixes without approval; empty before the first netmap."""
        return () if self.approved is None else unapproved(self.config.advertise_routes, self.approved)
