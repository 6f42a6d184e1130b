"""Pure: which resolvers are asked about which name (split DNS, node-os spec 3.2 step 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.proto.dns import parent
from plugins.magicdns.upstream import Upstream


@dataclass(frozen=True, slots=True)
class RouteTable:
    """`default` is for names that no suffix of `suffixes` holds."""

    suffixes: Mapping[str, tuple[Upstream, ...]] = field(default_factory=dict)
    default: tuple[Upstream, ...] = ()

    def find(self, name: str) -> tuple[str, tuple[Upstream, ...]]:
        """The longest suffix that holds the name, "" for the default, and its resolvers."""
        above = name
        while above:
            if (found := self.suffixes.get(above)) is not None:
                return above, found
            above = parent(above)
        return "", self.default

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All of them, each once."""
        every = [each for found in self.suffixes.values() for each in found]
        return tuple(dict.fromkeys((*self.default, *every)))
