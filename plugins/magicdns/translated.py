"""Pure: names of hosts in networks that their site's router translates one to one, `192-168-1-10-via-gateway-b`.

A router's word counts only for outer networks that control lets it serve, or another router that says the same: no peer
gives its names to addresses of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from appliance.api import NodeInfo
from appliance.types.addresses import Address
from appliance.types.translated import Pair, example_label, host_label, moved, parse_host_label


@dataclass(frozen=True, slots=True)
class TranslatedNetwork:
    """`example` is the name of its first host, below the router's domain."""

    router: str
    inside: str
    outside: str
    example: str


@dataclass(frozen=True, slots=True)
class _Router:
    """`is_own`: this node."""

    name: str
    routes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    is_own: bool

    @property
    def label(self) -> str:
        return self.name.partition(".")[0]

    def serves(self, pair: Pair) -> bool:
        return pair in self.pairs and str(pair[1]) in self.routes


class TranslatedNames:
    """Knows the routers that translate; a mesh has few of them."""

    def __init__(self) -> None:
        self._routers: dict[str, _Router] = {}
        self._by_name: dict[str, _Router] = {}

    def put(self, node: NodeInfo, *, is_own: bool) -> None:
        """A node that was not known before, or that was forgotten."""
        if node.translations:
            pairs = tuple((ip_network(each.inside), ip_network(each.outside)) for each in node.translations)
            router = _Router(node.name.lower(), node.routes, pairs, is_own)
            self._routers[node.stable_id] = self._by_name[router.name] = router

    def forget(self, stable_id: str) -> None:
        router = self._routers.pop(stable_id, None)
        if router is not None and self._by_name.get(router.name) is router:
            del self._by_name[router.name]

    def address(self, name: str) -> Address | None:
        """What this node reaches the host by: at its own site the host's own address. `name` is lower case."""
        label, _, domain = name.partition(".")
        found = parse_host_label(label)
        router = self._by_name.get(f"{found[1]}.{domain}") if found is not None else None
        if found is None or router is None:
            return None
        host = found[0]
        pair = next((pair for pair in router.pairs if host in pair[0]), None)
        if pair is None:
            return None
        if any(each.is_own and pair in each.pairs for each in self._routers.values()):
            return host
        return moved(host, *pair) if self._is_served(pair) else None

    def name_of(self, address: Address) -> str:
        """The name of the host that has this outer address, by the router that serves it; "" when nobody does."""
        for router in self._sorted():
            for pair in router.pairs:
                if address in pair[1] and router.serves(pair):
                    _, _, domain = router.name.partition(".")
                    return f"{host_label(moved(address, pair[1], pair[0]), router.label)}.{domain}"
        return ""

    def networks(self) -> tuple[TranslatedNetwork, ...]:
        """Those whose hosts have names."""
        return tuple(
            TranslatedNetwork(router.label, str(inside), str(outside), example_label(inside, router.label))
            for router in self._sorted()
            for inside, outside in router.pairs
            if router.is_own or self._is_served((inside, outside))
        )

    def _is_served(self, pair: Pair) -> bool:
        return any(each.serves(pair) for each in self._routers.values())

    def _sorted(self) -> Iterator[_Router]:
        return iter(sorted(self._routers.values(), key=lambda each: each.name))
