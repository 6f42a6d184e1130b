"""Node records to wire nodes and peer changes (control-protocol spec sections 10, 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from appliance.proto.control import messages as wire
from appliance.types.ids import NodeId
from appliance.types.keys import DiscoPublicKey
from control.mapper.known import SharedSets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from control.state.mesh import MeshView
    from control.state.records import NodeRecord

_DERP_PORT_ADDRESS = "127.3.3.40"
_NO_DISCO_KEY = str(DiscoPublicKey.zero())
_CAP_FILE_SHARING = "https://tailscale.com/cap/file-sharing"
_CAP_ADMIN = "https://tailscale.com/cap/is-admin"
_CAP_OWNER = "https://tailscale.com/cap/is-owner"
_FOR_PEERS = ("os", "hostname", "services", "ssh_host_keys", "location", "app_connector", "peer_relay")
"""What of a Hostinfo peers need to see; the rest is the node's own business (section 11)."""
_PATCHABLE = frozenset(
    {"node_key", "key_expiry", "disco_key", "endpoints", "endpoint_types", "home_derp", "capability_version"}
)
_UNSEEN = frozenset({"hostinfo", "hostname", "advertised_routes", "approved_routes", "last_seen", "pre_auth_key_id"})
"""Fields that peers do not get as they are: compared in their visible form, or not at all."""


def peer_hostinfo(hostinfo: wire.Hostinfo | None) -> wire.Hostinfo:
    """The part of a Hostinfo that peers see."""
    if hostinfo is None:
        return wire.Hostinfo()
    return wire.Hostinfo(**{name: getattr(hostinfo, name) for name in _FOR_PEERS})


def wire_node(view: MeshView, record: NodeRecord) -> wire.Node:
    """What the self node and every viewer's peer have in common."""
    online = view.is_online(record.id)
    return wire.Node(
        id=record.id,
        stable_id=record.stable_id,
        name=view.fqdn(record),
        user=record.wire_user_id,
        key=str(record.node_key),
        key_expiry=wire.format_time(record.key_expiry),
        machine=str(record.machine_key),
        disco_key=str(record.disco_key) if record.disco_key is not None else "",
        addresses=[str(prefix) for prefix in view.addresses(record)],
        endpoints=[str(endpoint) for endpoint in record.endpoints],
        home_derp=record.home_derp,
        legacy_derp=f"{_DERP_PORT_ADDRESS}:{record.home_derp}" if record.home_derp else "",
        created=wire.format_time(record.created),
        cap=record.capability_version,
        tags=list(record.tags),
        primary_routes=[str(route) for route in view.primary_routes(record.id)],
        last_seen="" if online else wire.format_time(record.last_seen),
        online=online,
        machine_authorized=True,
    )


def self_node(view: MeshView, record: NodeRecord) -> wire.Node:
    """The node in its own map: everything it serves in AllowedIPs, its Hostinfo, its capabilities."""
    node = wire_node(view, record)
    node.online = True
    node.last_seen = ""
    node.allowed_ips = [str(prefix) for prefix in view.self_allowed_ips(record.id)]
    node.hostinfo = record.hostinfo
    node.cap_map = {
        _CAP_FILE_SHARING: [],
        **{name: [] for name in _role_caps(view, record)},
        **view.node_attributes(record.id),
    }
    return node


def removed_self(view: MeshView, record: NodeRecord, wall_now: datetime) -> wire.Node:
    """A node's last word on itself when it was deleted: its key has expired, so it asks for a new login.

    Without it clients would meet 404 for ever and show their last map as if they were connected (section 20.7).
    """
    node = wire_node(view, record)
    node.online = False
    node.primary_routes = []
    node.allowed_ips = node.addresses
    node.hostinfo = record.hostinfo
    node.key_expiry = wire.format_time(wall_now)
    return node


def _role_caps(view: MeshView, record: NodeRecord) -> tuple[str, ...]:
    user = None if record.user_id is None else view.users.get(record.user_id)
    if user is None:
        return ()
    return {"owner": (_CAP_OWNER, _CAP_ADMIN), "admin": (_CAP_ADMIN,)}.get(user.role, ())


class PeerNodes:
    """Peers as viewers see them. The common part is made once per record and presence, whoever looks; so is its JSON.

    `encode` copies that JSON into each map: a full map of 1,000 peers is then a matter of joining bytes.
    """

    def __init__(self, view: MeshView) -> None:
        self._view = view
        self._common: dict[NodeId, tuple[NodeRecord, bool, tuple[object, ...], wire.Node]] = {}
        self._json: dict[NodeId, tuple[wire.Node, msgspec.Raw]] = {}
        self.sets = SharedSets()
        """Of ids of peers that viewers know."""
        self._changes: dict[NodeId, tuple[NodeRecord, NodeRecord, wire.PeerChange | None]] = {}
        self._policy = view.policy

    def peers(self, viewer: NodeId, node_ids: Iterable[NodeId]) -> list[wire.Node]:
        """The peers in the map of `viewer`. Shared between viewers: do not change them."""
        self._follow_policy()
        view, common = self._view, self._common
        records, is_online, routes_of = view.nodes, view.is_online, view.primary_routes
        found = []
        for node_id in node_ids:  # once per peer of each node that connects: little work where nothing changed
            record, known = records[node_id], common.get(node_id)
            online, routes = is_online(node_id), routes_of(node_id)
            if known is None or known[0] is not record or known[1] is not online or known[2] != routes:
                known = common[node_id] = (record, online, routes, self._made(record))
            apart = record.approved_routes or record.custom_attributes
            found.append(self._for_viewer(viewer, node_id, known[3]) if apart else known[3])
        return found

    def change(self, before: NodeRecord, now: NodeRecord) -> wire.PeerChange | None:
        """`peer_change`, compared once for all who are told in a round. Shared: do not change it."""
        known = self._changes.get(now.id)
        if known is None or known[0] is not before or known[1] is not now:
            made = wire.PeerChange(node_id=now.id) if before is now else peer_change(before, now)
            known = self._changes[now.id] = (before, now, made)
        return known[2]

    def end_round(self) -> None:
        """Everybody was told."""
        self._changes.clear()

    def forget(self, node_id: NodeId) -> None:
        """A removed node needs no memory."""
        self._common.pop(node_id, None)
        self._json.pop(node_id, None)

    def encode(self, response: wire.MapResponse) -> bytes:
        """The message as JSON; its peers must come from `peers`."""
        if not response.peers and not response.peers_changed:
            return wire.encode(response)
        peers = [self._encoded(node) for node in response.peers]
        changed = [self._encoded(node) for node in response.peers_changed]
        return wire.encode(msgspec.structs.replace(response, peers=peers, peers_changed=changed))

    def _encoded(self, node: wire.Node) -> msgspec.Raw:
        """Kept while the node is the common part; a form for one viewer is not worth it."""
        node_id = NodeId(node.id)
        known = self._json.get(node_id)
        if known is not None and known[0] is node:
            return known[1]
        made = msgspec.Raw(wire.encode(node))
        common = self._common.get(node_id)
        if common is not None and common[3] is node:
            self._json[node_id] = (node, made)
        return made

    def _follow_policy(self) -> None:
        if self._view.policy is not self._policy:
            self._policy = self._view.policy
            self._common.clear()
            self._json.clear()

    def _made(self, record: NodeRecord) -> wire.Node:
        node = wire_node(self._view, record)
        node.allowed_ips = node.addresses
        node.hostinfo = peer_hostinfo(record.hostinfo)
        node.cap_map = dict(self._view.peer_attributes(record.id))
        return node

    def _for_viewer(self, viewer: NodeId, node_id: NodeId, common: wire.Node) -> wire.Node:
        allowed = self._view.allowed_ips(viewer, node_id)
        shown = self._view.shown_attributes(viewer, node_id)
        if len(allowed) == len(common.addresses) and not shown:
            return common
        cap_map = {**(common.cap_map or {}), **shown}
        return msgspec.structs.replace(common, allowed_ips=[str(prefix) for prefix in allowed], cap_map=cap_map)


def peer_change(before: NodeRecord, now: NodeRecord) -> wire.PeerChange | None:
    """The patch between two states of a record; None when peers need the whole node."""
    for name in now.__slots__:
        if name not in _PATCHABLE and name not in _UNSEEN and getattr(before, name) != getattr(now, name):
            return None
    if before.served_routes != now.served_routes:
        return None
    if before.hostinfo is not now.hostinfo and peer_hostinfo(before.hostinfo) != peer_hostinfo(now.hostinfo):
        return None
    if now.home_derp == 0 and before.home_derp:  # a patch cannot say 0
        return None
    patch = wire.PeerChange(node_id=now.id)
    if before.node_key != now.node_key:
        patch.key = str(now.node_key)
    if before.key_expiry != now.key_expiry:
        patch.key_expiry = wire.format_time(now.key_expiry) or wire.ZERO_TIME
    if before.disco_key != now.disco_key:
        patch.disco_key = str(now.disco_key) if now.disco_key is not None else _NO_DISCO_KEY
    if before.endpoints != now.endpoints:
        patch.endpoints = [str(endpoint) for endpoint in now.endpoints]
    if before.home_derp != now.home_derp:
        patch.derp_region = now.home_derp
    if before.capability_version != now.capability_version:
        patch.cap = now.capability_version
    return patch


def changes_own_map(before: NodeRecord, now: NodeRecord) -> bool:
    """Whether a node must get its own new form: not for what it told us a moment ago, unless more hangs on it."""
    if before.advertised_routes != now.advertised_routes or before.approved_routes != now.approved_routes:
        return True
    patch = peer_change(before, now)
    return patch is None or bool(patch.key or patch.key_expiry)


def changes_sight(before: NodeRecord, now: NodeRecord) -> bool:
    """Whether a node may see other peers, or other routes behind them, than before."""
    names = ("user_id", "tags", "ipv4", "ipv6", "served_routes", "attributes")
    return any(getattr(before, name) != getattr(now, name) for name in names)
