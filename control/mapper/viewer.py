"""One node's view of the mesh: what its stream was told, and what of later changes it has not been told yet.

Pending changes are kept by node id, so a slow reader costs no more memory than it has peers, and a burst becomes one
message. Pure: `note` a change, later `take` the messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING

from msgspec.structs import replace

from appliance.proto.control import messages as wire
from control.mapper import wire_values
from control.mapper.connectors import connector_routes, offers_apps
from control.mapper.dns import dns_config
from control.mapper.known import KnownPeers
from control.mapper.nodes import PeerNodes, changes_own_map, changes_sight, removed_self, self_node
from control.mapper.notices import add_notices, client_version, notices_for
from control.mapper.settings import MapSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from appliance.types.ids import NodeId, UserId
    from appliance.types.netmap import DerpMap
    from control.mapper.settings import Notice
    from control.state.changes import Change, NodeChange
    from control.state.mesh import MeshView
    from control.state.records import NodeRecord

PEERS_PER_MESSAGE = 2000
"""Keeps frames far below the 4 MiB that light clients accept (section 9)."""
FIRST_PACKET_FILTERS_VERSION = 81
BASE_CHUNK = "base"
CAP_HTTPS = "https"
DEFAULTS = MapSettings()


@dataclass(slots=True)
class _Touched:
    """A node that changed since the last message. `before` is the record that the viewer knows, None = unknown."""

    before: NodeRecord | None
    whole: bool = False
    online: bool = False


@dataclass(slots=True)
class _Batch:
    """What one round of messages tells."""

    added: set[NodeId] = field(default_factory=set)
    patches: list[wire.PeerChange] = field(default_factory=list)
    removed: set[NodeId] = field(default_factory=set)
    online: dict[int, bool] = field(default_factory=dict)


class Viewer:
    """State of one map stream. `version` is the client's capability version."""

    def __init__(
        self, view: MeshView, peers: PeerNodes, node_id: NodeId, version: int, settings: MapSettings | None = None
    ) -> None:
        self._view = view
        self._settings = settings or DEFAULTS
        self._peers = peers
        self.node_id = node_id
        self._version = version
        self._known = KnownPeers(node_id, peers.sets)
        self._users_told: set[UserId] = set()
        self._users_due: set[UserId] = set()
        self._filter_told = b""
        self._derp_told: DerpMap | None = None
        self._dns_told = b""
        self._notices_told: dict[str, Notice] = {}
        self._client_told: wire.ClientVersion | None = None
        self._pending: dict[NodeId, _Touched] = {}
        self._self_due = False
        self._sight_due = False
        self._filter_due = False
        self._ssh_due = False
        self._dns_due = False
        self._ssh_told: wire.SshPolicy | None = None
        self._removed: NodeRecord | None = None
        self.gone = False
        self.handle = ""
        """Of the session, if the client can resume it; then the last message of each batch bears a number."""
        self.seq = 0

    def can_resume(self, handle: str, seq: int, version: int) -> bool:
        """Whether the client that lost this session's stream has taken in all that it was sent."""
        known = bool(self.handle) and compare_digest(handle.encode(), self.handle.encode())
        return known and seq == self.seq and version == self._version and not self.gone

    # the first messages

    def full_map(self, wall_now: datetime, seq: int = 0) -> list[wire.MapResponse]:
        """Everything, for a new stream; peers beyond the first 2000 follow as `PeersChanged`.

        `seq` numbers the batch, the same for all viewers of a round where it grew for each of them.
        """
        record = self._view.nodes[self.node_id]
        visible = self._view.visible_peers(self.node_id)
        peers = sorted(visible)
        self._known.replace(visible)
        self._forget_pending()
        first = wire.MapResponse(
            derp_map=self._derp_map(),
            peers=self._nodes(peers[:PEERS_PER_MESSAGE]),
            domain=self._view.domain,
            collect_services=False,
            user_profiles=self._profiles([self.node_id, *peers]),
            control_time=wire.format_time(wall_now),
            debug=wire.Debug(disable_log_tail=True),
        )
        self._add_self(first, record)
        self._add_filter(first, force=True)
        self._ssh_told = None
        self._add_ssh(first)
        first.map_session_handle = self.handle
        rest = range(PEERS_PER_MESSAGE, len(peers), PEERS_PER_MESSAGE)
        more = self._peers_changed([peers[start : start + PEERS_PER_MESSAGE] for start in rest])
        return self._numbered([first, *more], seq)

    def resumed(self, wall_now: datetime, seq: int) -> list[wire.MapResponse]:
        """For a new stream of a client that has taken in everything so far: only what changed since."""
        self._self_due = True
        messages = self.take(wall_now, seq)
        if messages:
            messages[0].map_session_handle = self.handle
        return messages

    def _numbered(self, messages: list[wire.MapResponse], seq: int) -> list[wire.MapResponse]:
        if self.handle and messages:
            self.seq = messages[-1].seq = max(seq, self.seq + 1)  # told twice in one round: two numbers
        return messages

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._users_due.clear()
        self._self_due = self._sight_due = self._filter_due = self._ssh_due = self._dns_due = False

    # changes

    def note(self, change: Change) -> None:
        """Remember what of a change this viewer must be told."""
        if change.everything:
            self._sight_due = self._self_due = self._filter_due = self._ssh_due = True
        self._dns_due = self._dns_due or self._concerns_names(change)
        if self.node_id in change.refiltered:
            self._filter_due = True
        if self.node_id in change.ssh:
            self._ssh_due = True
        for node in change.nodes:
            if node.node_id == self.node_id:
                self._note_self(node)
            else:
                touched = self._touch(node.node_id, node.before)
                touched.whole = touched.whole or node.before is None
        for node_id in change.online:
            if node_id != self.node_id:
                self._touch(node_id, self._view.nodes.get(node_id)).online = True
        for node_id in change.routes_moved:
            if node_id == self.node_id:
                self._self_due = True
            else:
                self._touch(node_id, self._view.nodes.get(node_id)).whole = True
        self._users_due |= change.users & self._users_told

    def _concerns_names(self, change: Change) -> bool:
        """Whether other connectors may look names up for the viewer now."""
        connectors = self._view.connectors
        if any(node_id in connectors for node_id in change.online):
            return True
        return any(offers_apps(node.before) or offers_apps(node.after) for node in change.nodes)

    def _touch(self, node_id: NodeId, before: NodeRecord | None) -> _Touched:
        """The pending entry; an older one keeps its older `before`: that is what the viewer knows."""
        touched = self._pending.get(node_id)
        if touched is None:
            touched = self._pending[node_id] = _Touched(before)
        return touched

    def _note_self(self, change: NodeChange) -> None:
        if change.after is None:
            self.gone = True
            self._removed = change.before
        elif change.before is None:
            self._self_due = self._sight_due = True
        else:
            self._self_due = self._self_due or changes_own_map(change.before, change.after)
            self._sight_due = self._sight_due or changes_sight(change.before, change.after)

    # telling

    def take(self, wall_now: datetime, seq: int = 0) -> list[wire.MapResponse]:
        """The messages that bring the viewer up to date; [] when nothing differs for it."""
        record = self._view.nodes.get(self.node_id)
        if record is None:
            return self._farewell(wall_now)
        batch = self._batch()
        first = wire.MapResponse(
            peers_removed=sorted(batch.removed), peers_changed_patch=batch.patches, online_change=batch.online
        )
        if self._self_due:
            self._add_self(first, record)
        elif self._dns_due or (self._sight_due and self._view.connectors):
            self._add_dns(first, record)
        if self._sight_due and self._view.derp_map != self._derp_told:
            first.derp_map = self._derp_map()
        if self._filter_due:
            self._add_filter(first, force=False)
        if self._ssh_due:
            self._add_ssh(first)
        first.user_profiles = self._profiles([self.node_id, *batch.added] if self._self_due else batch.added)
        if first.user_profiles:
            # Stock clients apply small deltas without showing new owners; a domain makes them build their netmap anew.
            first.domain = self._view.domain
        self._forget_pending()
        groups = sorted(batch.added)
        first.peers_changed = self._nodes(groups[:PEERS_PER_MESSAGE])
        if first == wire.MapResponse():
            return []
        first.control_time = wire.format_time(wall_now)
        rest = range(PEERS_PER_MESSAGE, len(groups), PEERS_PER_MESSAGE)
        more = self._peers_changed([groups[start : start + PEERS_PER_MESSAGE] for start in rest])
        return self._numbered([first, *more], seq)

    def _farewell(self, wall_now: datetime) -> list[wire.MapResponse]:
        self.gone = True
        if self._removed is None:
            return []
        node = removed_self(self._view, self._removed, wall_now)
        self._removed = None
        return [wire.MapResponse(node=node, control_time=wire.format_time(wall_now))]

    def _batch(self) -> _Batch:
        batch = _Batch()
        if self._sight_due:
            self._compare_sight(batch)
        for node_id, touched in self._pending.items():
            self._tell(node_id, touched, batch)
        self._known.change(batch.added, batch.removed)
        return batch

    def _compare_sight(self, batch: _Batch) -> None:
        """Peers that came into sight or went out of it, and those whose routes or attributes may differ."""
        visible = self._view.visible_peers(self.node_id)
        known = self._known.all()
        batch.removed |= known - visible
        batch.added |= visible - known
        kept = ((node_id, self._view.nodes[node_id]) for node_id in visible & known)
        batch.added |= {node_id for node_id, node in kept if node.served_routes or node.custom_attributes}

    def _tell(self, node_id: NodeId, touched: _Touched, batch: _Batch) -> None:
        if node_id in batch.added or node_id in batch.removed:
            return
        record = self._view.nodes.get(node_id)
        if record is None or not self._view.are_peers(self.node_id, node_id):
            if node_id in self._known:
                batch.removed.add(node_id)
            return
        patch = None
        if node_id in self._known and not touched.whole and touched.before is not None:
            patch = self._peers.change(touched.before, record)
        if patch is None:
            batch.added.add(node_id)
            return
        if touched.online:
            patch = self._with_online(record, patch, batch)
        if patch != wire.PeerChange(node_id=node_id):
            batch.patches.append(patch)

    def _with_online(self, record: NodeRecord, patch: wire.PeerChange, batch: _Batch) -> wire.PeerChange:
        """Online apart from the patch: a patch with a disco key, Online false and LastSeen would be dropped whole."""
        online = self._view.is_online(record.id)
        batch.online[record.id] = online
        if online or patch.disco_key:
            return patch
        return replace(patch, last_seen=wire.format_time(record.last_seen))

    # parts

    def _nodes(self, node_ids: Iterable[NodeId]) -> list[wire.Node]:
        return self._peers.peers(self.node_id, node_ids)

    def _peers_changed(self, groups: Iterable[list[NodeId]]) -> list[wire.MapResponse]:
        return [wire.MapResponse(peers_changed=self._nodes(group)) for group in groups]

    def _add_self(self, response: wire.MapResponse, record: NodeRecord) -> None:
        """The node's own new form, and what follows from it: DNS names, notices, the note on its version."""
        response.node = self_node(self._view, record)
        if self._settings.certificates:
            response.node.cap_map = {**response.node.cap_map, CAP_HTTPS: []}
        self._add_dns(response, record)
        notices = notices_for(record, self._settings)
        add_notices(response, self._version, self._notices_told, notices)
        self._notices_told = notices
        note = client_version(record, self._settings)
        if note is not None and note != self._client_told:
            self._client_told = response.client_version = note

    def _add_dns(self, response: wire.MapResponse, record: NodeRecord) -> None:
        """The DNS configuration, unless the viewer has just this one."""
        cert_domains = [self._view.fqdn(record).rstrip(".")] if self._settings.certificates else []
        connectors = connector_routes(self._view, record.id)
        config = dns_config(self._view.domain, self._settings.dns, cert_domains, connectors)
        digest = blake2b(wire.encode(config), digest_size=16).digest()
        if digest != self._dns_told:
            self._dns_told = digest
            response.dns_config = config

    def _derp_map(self) -> wire.DerpMap:
        self._derp_told = self._view.derp_map
        return wire_values.derp_map(self._view.derp_map)

    def _profiles(self, node_ids: Iterable[NodeId]) -> list[wire.UserProfile]:
        """Profiles of owners that the viewer was not told of, and of users that changed."""
        owners = {self._view.nodes[node_id].wire_user_id: node_id for node_id in node_ids}
        due = {user_id: node_id for user_id, node_id in owners.items() if user_id not in self._users_told}
        profiles = [self._profile(node_id) for _, node_id in sorted(due.items())]
        for user_id in sorted(self._users_due - due.keys()):
            user = self._view.users.get(user_id)
            if user is not None:
                name = user.display_name or user.name
                profiles.append(wire.UserProfile(id=user_id, login_name=user.login_name, display_name=name))
        self._users_told |= due.keys()
        return profiles

    def _profile(self, node_id: NodeId) -> wire.UserProfile:
        user_id, login_name, display_name = self._view.owner(self._view.nodes[node_id])
        return wire.UserProfile(id=user_id, login_name=login_name, display_name=display_name)

    def _add_ssh(self, response: wire.MapResponse) -> None:
        """The SSH policy, complete, unless the viewer has just this one."""
        policy = self._view.ssh_policy(self.node_id)
        if policy != self._ssh_told:
            self._ssh_told = response.ssh_policy = policy

    def _add_filter(self, response: wire.MapResponse, *, force: bool) -> None:
        """The packet filter, unless the viewer has just this one. `[]` = deny all, in either form."""
        rules = wire_values.filter_rules(self._view.filter_rules(self.node_id))
        digest = blake2b(b"".join(wire.encode(rule) for rule in rules), digest_size=16).digest()
        if digest == self._filter_told and not force:
            return
        self._filter_told = digest
        if self._version < FIRST_PACKET_FILTERS_VERSION:
            response.packet_filter = rules
        else:
            response.packet_filters = {BASE_CHUNK: rules}
