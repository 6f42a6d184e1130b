"""What the plugin knows, as one value that panel, health checks, metrics and commands are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.api import EgressUplink, HostFacts
from plugins.exit_node.config import AUTO, ExitNodeConfig
from plugins.exit_node.proxies import ForwarderPlaces
from plugins.exit_node.rules import DEFAULTS, Exit, Measure, in_use, suggest
from plugins.exit_node.uplink import no_udp, uplink_of


@dataclass(frozen=True, slots=True)
class ExitState:
    """`exits` by stable id; `approved` are this node's routes as control gave them, None: no netmap yet."""

    config: ExitNodeConfig = field(default_factory=ExitNodeConfig)
    exits: Mapping[str, Exit] = field(default_factory=dict)
    approved: tuple[str, ...] | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    picked: str = ""
    """The automatic choice's stable id."""
    moves: int = 0
    """How often the automatic choice went to another exit."""
    facts: HostFacts = field(default_factory=HostFacts)
    uplink_up: bool = True
    """Whether the link that this exit's users go on by is there."""
    forwarder: ForwarderPlaces = field(default_factory=ForwarderPlaces)
    """Of an exit behind a proxy."""
    withdrawn: bool = False
    """The link has been away so long that the exit is not offered meanwhile."""

    @property
    def chosen(self) -> Exit | None:
        """The exit in use; None: none is, or the one that is meant does not offer itself."""
        return in_use(self.config, self.exits, self.picked)

    @property
    def best(self) -> Exit | None:
        """The one to suggest; the one in use where it is as good."""
        previous = self.picked if self.config.use == AUTO or self.chosen is None else self.chosen.stable_id
        return suggest(self.sorted_exits, self.measures, self.config.regions, previous, self.config.location)

    @property
    def uplink(self) -> EgressUplink | None:
        """What users of this exit go on by; None: the host's own routes."""
        return uplink_of(self.config, self.forwarder)

    @property
    def no_udp(self) -> str:
        """Why UDP of this exit's users is refused; "": it is not."""
        return no_udp(self.config, self.forwarder)

    @property
    def offers(self) -> bool:
        """Whether this gateway offers itself now."""
        return self.config.advertise and not self.withdrawn

    @property
    def waiting(self) -> bool:
        """Whether the own offer lacks approval."""
        return self.offers and self.approved is not None and not set(DEFAULTS) <= set(self.approved)

    @property
    def sorted_exits(self) -> tuple[Exit, ...]:
        return tuple(sorted(self.exits.values(), key=lambda each: (each.name, each.stable_id)))
