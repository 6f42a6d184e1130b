"""Who asks: from the source address inside the tunnel to a node and what it may do (apps spec 1.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.netmap.store import NetmapView
from appliance.router.ranges import parse_addresses
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import DecodeError
from appliance.types.netmap import FilterRule, Node

CAP_DEBUG = "https://tailscale.com/cap/debug"
CAP_DEBUG_PEER = "https://tailscale.com/cap/debug-peer"
_CAP = "cap:"


@dataclass(frozen=True, slots=True)
class Caller:
    """`node` asks us, `own`, from `source` inside the tunnel. `login` is its user's name, "" for a tagged node."""

    node: Node
    own: Node
    source: AddrPort
    login: str
    rules: tuple[FilterRule, ...]

    @property
    def is_self(self) -> bool:
        """Both belong to one person; tagged nodes belong to nobody."""
        return not self.node.tags and not self.own.tags and bool(self.node.user) and self.node.user == self.own.user

    def capabilities(self) -> Mapping[str, tuple[Any, ...]]:
        """Application capabilities that the policy grants the caller toward this node, with their values."""
        address = self.source.address
        target = self.own.address(address.version)
        found: dict[str, list[Any]] = {}
        for rule in self.rules:
            grants = [grant for grant in rule.cap_grants if target is not None and _within(target, grant.dsts)]
            if grants and _is_source(rule.src_ips, address, self.node):
                for grant in grants:
                    for name, values in grant.cap_map.items():
                        found.setdefault(name, []).extend(values)
        return {name: tuple(values) for name, values in found.items()}

    def may_debug(self) -> bool:
        """The debug rule of apps spec 1.4."""
        return CAP_DEBUG in self.own.cap_map and (self.is_self or CAP_DEBUG_PEER in self.capabilities())


def identify(view: NetmapView | None, source: AddrPort, *, shields_up: bool = False) -> Caller | None:
    """None: not a node that we know, or we are not in a mesh."""
    own = view.self_node if view is not None else None
    if view is None or own is None:
        return None
    node = view.peer_by_address(source.address)
    if node is None or node.expired:
        return None
    profile = view.users.get(node.user)
    login = profile.login_name if profile is not None and not node.tags else ""
    return Caller(node, own, source, login, () if shields_up else view.filter_rules)


def _within(address: Address, prefixes: Iterable[Any]) -> bool:
    return any(address in prefix for prefix in prefixes)


def _is_source(texts: Iterable[str], address: Address, node: Node) -> bool:
    return any(_covers(text, address, node) for text in texts)


def _covers(text: str, address: Address, node: Node) -> bool:
    if text.startswith(_CAP):
        return text[len(_CAP) :] in node.cap_map
    try:
        entries = parse_addresses(text)
    except DecodeError:
        return False
    return any(version == address.version and low <= int(address) <= high for version, (low, high) in entries)
