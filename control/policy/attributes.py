"""Node attributes: the keys that `nodeAttrs` and the switches put in CapMaps (policy-and-management spec 1.8, 2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control.policy.read_attrs import APP_CONNECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network

    from control.policy.facts import NodeFacts
    from control.policy.matching import Masks, SelectorTable
    from control.policy.model import Policy

CapValues = list[Any] | None
SUGGEST_EXIT_NODE = "suggest-exit-node"
DISABLE_IPV4 = "disable-ipv4"


class AttributeTable:
    """Attributes of a node depend on its own masks and tags only."""

    def __init__(self, policy: Policy, table: SelectorTable) -> None:
        self._policy = policy
        self._entries = [(table.mask(entry.targets), entry) for entry in policy.node_attrs]
        self._broadcasts = [(name, table.mask(selectors)) for name, selectors in policy.broadcasts.items()]
        self._without_ipv4 = [mask for mask, entry in self._entries if DISABLE_IPV4 in entry.attributes]

    def of(self, node: NodeFacts, masks: Masks) -> dict[str, CapValues]:
        """The node's own keys, the switches first, then the entries in order; values are null but for connectors."""
        found: dict[str, CapValues] = dict.fromkeys(self._policy.global_attrs)
        for mask, entry in self._entries:
            if mask & masks.own:
                found.update(dict.fromkeys(entry.attributes))
        apps = self.apps(node, masks)
        if apps:
            found[APP_CONNECTORS] = apps
        return found

    def apps(self, node: NodeFacts, masks: Masks) -> list[Any]:
        """What the node is to connect as an app connector, should it offer to."""
        matching = (entry for mask, entry in self._entries if entry.connectors and mask & masks.own)
        return [one for entry in matching for one in entry.connectors if _connects(one, node)]

    def for_peers(self, node: NodeFacts, masks: Masks) -> dict[str, CapValues]:
        """Keys that peers read: only whether the node, an approved exit node, may be suggested."""
        if node.exit_routes and any(
            mask & masks.own and SUGGEST_EXIT_NODE in entry.attributes for mask, entry in self._entries
        ):
            return {SUGGEST_EXIT_NODE: None}
        return {}

    def shown_to(self, viewer: Masks, node: NodeFacts) -> dict[str, CapValues]:
        """Custom attributes of `node` that the viewer's maps show, as keys with one value."""
        attributes = node.attributes if self._broadcasts else {}
        return {name: [attributes[name]] for name, mask in self._broadcasts if mask & viewer.own and name in attributes}

    @property
    def may_disable_ipv4(self) -> bool:
        """Whether there is a node at all without IPv4."""
        return self._policy.disable_ipv4 or bool(self._without_ipv4)

    def disables_ipv4(self, masks: Masks) -> bool:
        """Whether no map shows an IPv4 address of the node."""
        return self._policy.disable_ipv4 or any(mask & masks.own for mask in self._without_ipv4)

    def pools(self, masks: Masks) -> tuple[IPv4Network, ...]:
        """Pools of the first matching entry that has one; new nodes get their IPv4 address from them."""
        return next((entry.pools for mask, entry in self._entries if entry.pools and mask & masks.own), ())


def _connects(connector: Mapping[str, Any], node: NodeFacts) -> bool:
    tags = connector.get("connectors", [])
    return "*" in tags or bool(set(tags) & set(node.tags))
