"""Pure: which resolvers are asked about which name (split DNS, node-os spec 3.2 step 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.proto.dns import parent
from plugins.magicdns.upstream import Upstream


@dataclass(frozen=True, slots=True)
class RouteTable:
    """`default` is for names that no suffix of `suffixes` holds; `open_to_site`: for hosts behind this one too."""

    suffixes: Mapping[str, tuple[Upstream, ...]] = field(default_factory=dict)
    default: tuple[Upstream, ...] = ()
    open_to_site: bool = True

    def find(self, name: str) -> tuple[str, tuple[Upstream, ...]]:
        """The longest suffix that holds the name, "" for the default, and its resolvers."""
        above = name
        while above:
            if (found := self.suffixes.get(above)) is not None:
                return above, found
            above = parent(above)
        return "", self.default

    def serves_site(self, name: str) -> bool:
        """Whether another resolver may be asked for a host behind this one."""
        return self.open_to_site or bool(self.find(name)[0])

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All of them, each once."""
        every = [each for found in self.suffixes.values() for each in found]
        return tuple(dict.fromkeys((*self.default, *every)))
