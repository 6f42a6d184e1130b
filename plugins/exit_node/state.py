"""What the plugin knows, as one value that panel, health checks, metrics and commands are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.api import HostFacts
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.rules import DEFAULTS, Exit, Measure, in_use


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

    @property
    def chosen(self) -> Exit | None:
        """The exit in use; None: none is, or the one that is meant does not offer itself."""
        return in_use(self.config, self.exits, self.picked)

    @property
    def waiting(self) -> bool:
        """Whether the own offer lacks approval."""
        return self.config.advertise and self.approved is not None and not set(DEFAULTS) <= set(self.approved)

    @property
    def sorted_exits(self) -> tuple[Exit, ...]:
        return tuple(sorted(self.exits.values(), key=lambda each: (each.name, each.stable_id)))
