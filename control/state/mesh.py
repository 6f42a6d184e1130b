"""`MeshView`: the in-memory read model of one tailnet, always equal to what is committed.

It is live, not a copy: read it in the event loop's thread between awaits. Only `control.service` writes to it, through
`MeshModel`, after the commit. It holds no secret.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from appliance.types.netmap import DerpMap, FilterRule
from control.state.records import TAGGED_DEVICES, TAGGED_DEVICES_NAME, NodeRecord, UserRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime
    from typing import Any

    from appliance.proto.control.messages import SshPolicy
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from appliance.types.keys import MachinePublicKey, NodePublicKey


class PolicyView(Protocol):
    """What the compiled policy answers; `control.policy.compiled.CompiledPolicy` is it."""

    def filter_rules(self, node_id: NodeId) -> tuple[FilterRule, ...]:
        """Packet filter of the node; () = deny all."""
        ...

    def visible_peers(self, node_id: NodeId) -> frozenset[NodeId]:
        """Nodes that some rule connects with this one, in either direction."""
        ...

    def are_peers(self, one: NodeId, other: NodeId) -> bool: ...

    def may_use(self, viewer: NodeId, peer: NodeId, route: Prefix) -> bool:
        """Whether a rule lets `viewer` reach `route` behind `peer`, or the network behind `peer` reach `viewer`."""
        ...

    def steered(self, viewer: NodeId, peer: NodeId) -> tuple[frozenset[Prefix], frozenset[Prefix]]:
        """Routes of `peer` taken from `viewer`, and given to it whoever is primary, by grants with `via`."""
        ...

    def ssh_policy(self, node_id: NodeId) -> SshPolicy:
        """Who may log in to the node by SSH, as on the wire."""
        ...

    def node_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys that the policy puts in the node's own CapMap."""
        ...

    def may_look_up(self, viewer: NodeId, connector: NodeId) -> bool:
        """Whether `viewer` may use the apps of this app connector."""
        ...

    def disables_ipv4(self, node_id: NodeId) -> bool:
        """Whether no map shows an IPv4 address of the node."""
        ...

    def peer_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys that the policy puts in the node's CapMap for its peers."""
        ...

    def shown_attributes(self, viewer: NodeId, peer: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys that the policy puts in the CapMap of `peer` for this viewer."""
        ...


class MeshView:
    """Read side. `nodes` and `users` are read-only live mappings by id; `revision` grows with every change."""

    def __init__(self, *, domain: str, derp_map: DerpMap, policy: PolicyView) -> None:
        self._nodes: dict[NodeId, NodeRecord] = {}
        self._users: dict[UserId, UserRecord] = {}
        self._by_key: dict[NodePublicKey, NodeId] = {}
        self._by_machine: dict[MachinePublicKey, set[NodeId]] = {}
        self._by_name: dict[str, NodeId] = {}
        self._online: set[NodeId] = set()
        self._connectors: set[NodeId] = set()
        self._primaries: dict[Prefix, NodeId] = {}
        self._primaries_of: dict[NodeId, tuple[Prefix, ...]] = {}
        self._derp_map = derp_map
        self._policy = policy
        self._revision = 0
        self.domain = domain
        self.nodes: Mapping[NodeId, NodeRecord] = MappingProxyType(self._nodes)
        self.users: Mapping[UserId, UserRecord] = MappingProxyType(self._users)

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def derp_map(self) -> DerpMap:
        return self._derp_map

    @property
    def policy(self) -> PolicyView:
        return self._policy

    def node_by_key(self, node_key: NodePublicKey) -> NodeRecord | None:
        node_id = self._by_key.get(node_key)
        return None if node_id is None else self._nodes[node_id]

    def nodes_of_machine(self, machine_key: MachinePublicKey) -> tuple[NodeRecord, ...]:
        """Nodes registered from this machine, one per owner, by id."""
        return tuple(self._nodes[node_id] for node_id in sorted(self._by_machine.get(machine_key, ())))

    def node_by_name(self, given_name: str) -> NodeRecord | None:
        node_id = self._by_name.get(given_name)
        return None if node_id is None else self._nodes[node_id]

    def owner(self, node: NodeRecord) -> tuple[UserId, str, str]:
        """(id, login name, display name) of the owner as shown to peers; the placeholder for tagged nodes."""
        user = None if node.user_id is None else self._users.get(node.user_id)
        if user is None:
            return TAGGED_DEVICES, TAGGED_DEVICES_NAME, "Tagged Devices"
        return user.id, user.login_name, user.display_name or user.name

    def fqdn(self, node: NodeRecord) -> str:
        """Name of the node with the tailnet's domain and a trailing dot."""
        return f"{node.given_name}.{self.domain}."

    def is_online(self, node_id: NodeId) -> bool:
        """Whether a map stream is open, or closed for less than the grace time."""
        return node_id in self._online

    @property
    def connectors(self) -> AbstractSet[NodeId]:
        """Nodes that say that they are app connectors, whatever the policy makes of it."""
        return self._connectors

    @property
    def online_count(self) -> int:
        """How many nodes are online."""
        return len(self._online)

    def last_seen(self, node_id: NodeId) -> datetime | None:
        node = self._nodes.get(node_id)
        return None if node is None else node.last_seen

    def filter_rules(self, node_id: NodeId) -> tuple[FilterRule, ...]:
        return self._policy.filter_rules(node_id)

    def ssh_policy(self, node_id: NodeId) -> SshPolicy:
        return self._policy.ssh_policy(node_id)

    def node_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        return self._policy.node_attributes(node_id)

    def peer_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        return self._policy.peer_attributes(node_id)

    def shown_attributes(self, viewer: NodeId, peer: NodeId) -> Mapping[str, list[Any] | None]:
        return self._policy.shown_attributes(viewer, peer)

    def visible_peers(self, node_id: NodeId) -> frozenset[NodeId]:
        return self._policy.visible_peers(node_id)

    def are_peers(self, one: NodeId, other: NodeId) -> bool:
        return self._policy.are_peers(one, other)

    def primary_routes(self, node_id: NodeId) -> tuple[Prefix, ...]:
        """Subnets that this node serves now, never a /0 (node-os spec 2.1)."""
        return self._primaries_of.get(node_id, ())

    def primary_of(self, route: Prefix) -> NodeId | None:
        return self._primaries.get(route)

    def primaries(self) -> Mapping[Prefix, NodeId]:
        """Who serves each subnet now."""
        return self._primaries

    def addresses(self, node: NodeRecord) -> tuple[Prefix, ...]:
        """Own overlay prefixes as maps show them: without the IPv4 one where the policy disables it."""
        return node.addresses[1:] if self._policy.disables_ipv4(node.id) else node.addresses

    def allowed_ips(self, viewer: NodeId, peer: NodeId) -> tuple[Prefix, ...]:
        """AllowedIPs of `peer` in the map of `viewer`: addresses, then routes that the viewer may use."""
        node = self._nodes[peer]
        own = self._nodes.get(viewer)
        routes = (*self.primary_routes(peer), *node.exit_routes)
        shared = set(own.subnet_routes) if own is not None else set()
        return (*self.addresses(node), *usable_routes(self._policy, viewer, peer, routes, shared))

    def self_allowed_ips(self, node_id: NodeId) -> tuple[Prefix, ...]:
        """AllowedIPs of a node in its own map: addresses and everything approved that it advertises."""
        node = self._nodes[node_id]
        return (*self.addresses(node), *node.served_routes)


def usable_routes(
    policy: PolicyView, viewer: NodeId, peer: NodeId, routes: Iterable[Prefix], shared: set[Prefix]
) -> tuple[Prefix, ...]:
    """Which of the `routes` behind `peer` the viewer may use; those that it serves itself are `shared`."""
    taken, given = policy.steered(viewer, peer)
    usable = (
        route for route in routes if route in shared or (route not in taken and policy.may_use(viewer, peer, route))
    )
    return tuple(dict.fromkeys((*usable, *sorted(given, key=_order))))


def _order(route: Prefix) -> tuple[int, int, int]:
    return route.version, int(route.network_address), route.prefixlen


class MeshModel(MeshView):
    """Write side; `control.service` is its only caller."""

    def put_node(self, node: NodeRecord) -> NodeRecord | None:
        """Add or replace; returns the former record."""
        before = self._nodes.get(node.id)
        if before is not None:
            self._unindex(before)
        self._nodes[node.id] = node
        self._by_key[node.node_key] = node.id
        self._by_machine.setdefault(node.machine_key, set()).add(node.id)
        self._by_name[node.given_name] = node.id
        if node.offers_apps:
            self._connectors.add(node.id)
        return before

    def remove_node(self, node_id: NodeId) -> NodeRecord | None:
        before = self._nodes.pop(node_id, None)
        if before is not None:
            self._unindex(before)
        self._online.discard(node_id)
        return before

    def _unindex(self, node: NodeRecord) -> None:
        self._connectors.discard(node.id)
        if self._by_key.get(node.node_key) == node.id:
            del self._by_key[node.node_key]
        if self._by_name.get(node.given_name) == node.id:
            del self._by_name[node.given_name]
        siblings = self._by_machine[node.machine_key]
        siblings.discard(node.id)
        if not siblings:
            del self._by_machine[node.machine_key]

    def put_user(self, user: UserRecord) -> None:
        self._users[user.id] = user

    def remove_user(self, user_id: UserId) -> None:
        self._users.pop(user_id, None)

    def set_online(self, node_id: NodeId, online: bool) -> bool:
        """Returns whether that is news."""
        if (node_id in self._online) is online or node_id not in self._nodes:
            return False
        if online:
            self._online.add(node_id)
        else:
            self._online.discard(node_id)
        return True

    def set_primaries(self, changed: Mapping[Prefix, NodeId | None]) -> frozenset[NodeId]:
        """Set the primary of each prefix (None = nobody); returns the nodes that gained or lost one."""
        moved: set[NodeId] = set()
        for prefix, node_id in changed.items():
            former = self._primaries.pop(prefix, None)
            if former == node_id:
                if node_id is not None:
                    self._primaries[prefix] = node_id
                continue
            if node_id is not None:
                self._primaries[prefix] = node_id
            moved.update(one for one in (former, node_id) if one is not None)
        self._index_primaries(moved)
        return frozenset(moved)

    def _index_primaries(self, node_ids: Iterable[NodeId]) -> None:
        for node_id in node_ids:
            node = self._nodes.get(node_id)
            held = () if node is None else tuple(r for r in node.subnet_routes if self._primaries.get(r) == node_id)
            if held:
                self._primaries_of[node_id] = held
            else:
                self._primaries_of.pop(node_id, None)

    def set_policy(self, policy: PolicyView) -> None:
        self._policy = policy

    def set_derp_map(self, derp_map: DerpMap) -> None:
        self._derp_map = derp_map

    def next_revision(self) -> int:
        self._revision += 1
        return self._revision
