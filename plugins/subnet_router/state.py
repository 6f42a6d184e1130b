"""What the plugin knows, as one value that the panel, the health checks and the metrics are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.api import AttachedPrefix, HostFacts, QueueTraffic, TrafficShape
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.judge import Judgement
from plugins.subnet_router.rules import automatic_routes, joined, share_places, unapproved
from plugins.subnet_router.shaping import shapes
from plugins.subnet_router.via import TranslationPlan, TranslationView, lan_of, plan


@dataclass(frozen=True, slots=True)
class RouterState:
    """`approved` are this node's routes as control gave them; None: no netmap yet."""

    config: SubnetRouterConfig = field(default_factory=SubnetRouterConfig)
    approved: tuple[str, ...] | None = None
    primary: tuple[str, ...] = ()
    """Of these, those that go through this router now; another one may offer them too."""
    judged: Judgement = field(default_factory=Judgement)
    facts: HostFacts = field(default_factory=HostFacts)
    offering: int = 0
    """Number of peers that offer subnets."""
    attached: tuple[AttachedPrefix, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    """LANs that cannot be reached now, with the reason; they are not offered."""
    withdrawals: int = 0
    translation: TranslationView | None = None
    """How 4via6 is doing; None: nothing is translated."""

    name: str = ""
    """This node's in the mesh; "" before the first netmap."""
    limited: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prefixes of the peers that limits name, by name."""
    traffic: Mapping[str, QueueTraffic] = field(default_factory=dict)
    """What the limits that hold let pass, by target, as of the last look."""

    @property
    def shapes(self) -> tuple[TrafficShape, ...]:
        """The limits that hold now."""
        return shapes(self.config.parsed_limits, self.limited)

    def lan_of(self, route: str) -> str:
        """The network of the site, in its own addresses, that an offered route leads to."""
        inside = next((each.inside for each in self.config.translations if each.outside == route), "")
        return inside or lan_of(route)

    @property
    def wanted(self) -> tuple[str, ...]:
        """What the settings want to be offered."""
        config = self.config
        static = joined(config.advertise_routes, (each.outside for each in config.translations))
        if not config.auto:
            return static
        insides = (each.inside for each in config.translations)
        return joined(static, automatic_routes(self.attached, (*config.auto_except, *insides)))

    @property
    def share_places(self) -> frozenset[tuple[str, str]]:
        """Shared addresses that this router holds now, each with its interface."""
        return frozenset(
            (address, interface)
            for address in self.config.shared
            for interface in share_places(address, self.attached, self.offered, self.primary)
        )

    @property
    def translation_plan(self) -> TranslationPlan | None:
        return plan(self.wanted, self.config.translation_pool)

    @property
    def offered(self) -> tuple[str, ...]:
        """What is offered now."""
        return tuple(route for route in self.wanted if route not in self.lost)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Offered prefixes without approval; empty before the first netmap."""
        return () if self.approved is None else unapproved(self.offered, self.approved)
