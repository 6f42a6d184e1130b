"""The netmap in wire form, and map responses applied to it (control-protocol spec sections 10, 13, 14).

One owner mutates it. The cost of a delta follows what it names, never the number of peers. Nodes are changed in place:
who keeps one must copy it (`patches.copy_node`) or convert it to a value at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from appliance.proto.control.messages import (
    ControlDialPlan,
    DerpHomeParams,
    DerpMap,
    DisplayMessage,
    DnsConfig,
    FilterRule,
    MapResponse,
    Node,
    PeerChange,
    SshPolicy,
    TkaInfo,
    UserProfile,
    format_time,
)
from appliance.proto.control.patches import apply_patch, keep_known_disco_key, patch_between, upgrade_legacy
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.ids import MAX_ID

ALL = "*"
BASE_CHUNK = "base"


@dataclass(slots=True)
class Applied:
    """What one message changed. Sets hold node and user ids; `dropped` counts entries that were refused.

    `full`: first message of a stream (everything not in it was reset). `requests`: the message itself carries what
    must be done once (`ping_request`, `pop_browser_url`, `debug`, `client_version`); callers read it there.
    """

    full: bool = False
    keep_alive: bool = False
    added: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)
    node: bool = False
    derp_map: bool = False
    dns_config: bool = False
    packet_filter: bool = False
    ssh_policy: bool = False
    domain: bool = False
    health: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class MapSessionMark:
    """Where a map session stands, for a request that resumes it: the server's handle, the last whole batch taken in."""

    handle: str = ""
    seq: int = 0


class WireNetmap:
    """State of one map stream after another. `peers` and `users` by id; `chunks` of the packet filter by name."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.peers: dict[int, Node] = {}
        self._reset()
        self._fresh = True
        self.session = MapSessionMark()

    def _reset(self) -> None:
        self.users: dict[int, UserProfile] = {}
        self.derp_map = DerpMap(regions={})
        self.dns_config = DnsConfig()
        self.chunks: dict[str, list[FilterRule]] = {}
        self.ssh_policy: SshPolicy | None = None
        self.domain = ""
        self.health: list[str] = []
        self.display_messages: dict[str, DisplayMessage] = {}
        self.collect_services: bool | None = None
        self.control_time = ""
        self.tka_info: TkaInfo | None = None
        self.dial_plan: ControlDialPlan | None = None

    def begin_stream(self) -> None:
        """A new stream begins: its first state message replaces everything; `Applied` still tells the difference.

        Unless it bears the handle of the session that `session` named: then it goes on where the former stream ended.
        """
        self._fresh = True

    def packet_filter(self) -> list[FilterRule]:
        """The effective filter: all chunks, by sorted name. Empty = deny all inbound."""
        return [rule for name in sorted(self.chunks) for rule in self.chunks[name]]

    def snapshot(self) -> MapResponse:
        """All of it as the first message of a stream. It holds live nodes: encode it before the next `apply`."""
        return MapResponse(
            node=self.node,
            peers=list(self.peers.values()),
            user_profiles=list(self.users.values()),
            derp_map=self.derp_map,
            dns_config=self.dns_config,
            packet_filters=dict(self.chunks),
            ssh_policy=self.ssh_policy,
            domain=self.domain,
            collect_services=self.collect_services,
            health=self.health,
            display_messages=dict(self.display_messages),
            tka_info=self.tka_info,
            control_dial_plan=self.dial_plan,
        )

    def apply(self, response: MapResponse, wall_now: datetime) -> Applied:
        """Apply one message in the order of section 10.

        Raises `DecodeError` (UNEXPECTED) when the first state message of a stream lacks `Node`; nothing changed then.
        """
        applied = Applied(keep_alive=response.keep_alive)
        if self._fresh and not response.keep_alive and response.node is None:
            self.session = MapSessionMark()
            raise DecodeError(DecodeReason.UNEXPECTED, "first map response lacked node")
        self.control_time = response.control_time or self.control_time
        self.dial_plan = response.control_dial_plan or self.dial_plan
        if response.keep_alive:
            return applied
        mark, self.session = self.session, MapSessionMark()  # what fails half-way is not resumed
        if self._fresh and response.map_session_handle and response.map_session_handle == mark.handle:
            self._fresh = False
        if self._fresh:
            self._reset_for(response, applied)
            mark = MapSessionMark(response.map_session_handle)
        self._apply_peers(response, wall_now, applied)
        self._apply_node(response, applied)
        self._apply_users(response, applied)
        self._apply_derp_map(response, applied)
        self._apply_filter(response, applied)
        self._apply_settings(response, applied)
        self._fresh = False
        self.session = MapSessionMark(mark.handle, response.seq or mark.seq)
        return applied

    def _reset_for(self, response: MapResponse, applied: Applied) -> None:
        dial_plan, control_time = self.dial_plan, self.control_time
        self._reset()
        self.dial_plan, self.control_time = dial_plan, control_time
        applied.full = applied.derp_map = applied.dns_config = applied.packet_filter = True
        applied.ssh_policy = applied.domain = applied.health = True
        if not response.peers:
            self._replace_peers([], applied)

    # peers

    def _apply_peers(self, response: MapResponse, wall_now: datetime, applied: Applied) -> None:
        if response.peers:
            self._replace_peers(response.peers, applied)
            return
        for node_id in response.peers_removed:
            if self.peers.pop(node_id, None) is not None:
                applied.removed.add(node_id)
        derived = [patch for node in response.peers_changed if (patch := self._put_peer(node, applied)) is not None]
        for node_id, seen in response.peer_seen_change.items():
            if (peer := self._changing(node_id, applied)) is not None:
                peer.last_seen = format_time(wall_now) if seen else ""
        for node_id, online in response.online_change.items():
            if (peer := self._changing(node_id, applied)) is not None:
                peer.online = online
        for patch in (*response.peers_changed_patch, *derived):
            self._apply_patch(patch, applied)

    def _replace_peers(self, nodes: list[Node], applied: Applied) -> None:
        former, self.peers = self.peers, {}
        for node in nodes:
            if not _usable(node):
                applied.dropped += 1
                continue
            upgrade_legacy(node)
            known = former.pop(node.id, None)
            if known is not None:
                if not self._fresh:
                    keep_known_disco_key(node, known)
                if node != known:
                    applied.changed.add(node.id)
            elif node.id in self.peers:  # named twice: the later one counts
                if node.id not in applied.added:
                    applied.changed.add(node.id)
            else:
                applied.added.add(node.id)
            self.peers[node.id] = node
        applied.removed.update(former)

    def _put_peer(self, node: Node, applied: Applied) -> PeerChange | None:
        """Add or replace; a change of patchable fields alone comes back as the patch to apply last."""
        if not _usable(node):
            applied.dropped += 1
            return None
        upgrade_legacy(node)
        known = self.peers.get(node.id)
        if known is not None:
            patch = patch_between(known, node)
            if patch is not None:
                return patch
        self.peers[node.id] = node
        if known is None and node.id not in applied.removed:
            applied.added.add(node.id)
        elif node.id not in applied.added:
            applied.removed.discard(node.id)
            applied.changed.add(node.id)
        return None

    def _changing(self, node_id: int, applied: Applied) -> Node | None:
        """The peer, noted as changed; an unknown id is ignored."""
        peer = self.peers.get(node_id)
        if peer is not None and node_id not in applied.added:
            applied.changed.add(node_id)
        return peer

    def _apply_patch(self, patch: PeerChange, applied: Applied) -> None:
        peer = self.peers.get(patch.node_id)
        if peer is None:
            return
        if apply_patch(peer, patch):
            self._changing(patch.node_id, applied)
        else:
            applied.dropped += 1

    # the rest

    def _apply_node(self, response: MapResponse, applied: Applied) -> None:
        if response.node is not None:
            upgrade_legacy(response.node)
            self.node = response.node
            applied.node = True

    def _apply_users(self, response: MapResponse, applied: Applied) -> None:
        for profile in response.user_profiles:
            self.users[profile.id] = profile
            applied.users.add(profile.id)

    def _apply_derp_map(self, response: MapResponse, applied: Applied) -> None:
        delta = response.derp_map
        if delta is None:
            return
        applied.derp_map = True
        if delta.regions is not None:
            self.derp_map.regions = delta.regions
        if delta.home_params is not None and delta.home_params.region_score is not None:
            self.derp_map.home_params = DerpHomeParams(region_score=delta.home_params.region_score)
        self.derp_map.omit_default_regions = delta.omit_default_regions

    def _apply_filter(self, response: MapResponse, applied: Applied) -> None:
        if response.packet_filter is not None:
            self.chunks[BASE_CHUNK] = response.packet_filter
            applied.packet_filter = True
        if not response.packet_filters:
            return
        applied.packet_filter = True
        if ALL in response.packet_filters and response.packet_filters[ALL] is None:
            self.chunks.clear()
        for name, rules in response.packet_filters.items():
            if rules is None:
                self.chunks.pop(name, None)
            else:
                self.chunks[name] = rules

    def _apply_settings(self, response: MapResponse, applied: Applied) -> None:
        if response.dns_config is not None:
            self.dns_config = response.dns_config
            applied.dns_config = True
        if response.ssh_policy is not None:
            self.ssh_policy = response.ssh_policy
            applied.ssh_policy = True
        if response.domain and response.domain != self.domain:
            self.domain = response.domain
            applied.domain = True
        if response.collect_services is not None:
            self.collect_services = response.collect_services
        self.tka_info = response.tka_info or self.tka_info
        self._apply_health(response, applied)

    def _apply_health(self, response: MapResponse, applied: Applied) -> None:
        if response.health is not None:
            self.health = response.health
            applied.health = True
        if not response.display_messages:
            return
        applied.health = True
        if ALL in response.display_messages and response.display_messages[ALL] is None:
            self.display_messages.clear()
        for name, message in response.display_messages.items():
            if message is None:
                self.display_messages.pop(name, None)
            else:
                self.display_messages[name] = message


def _usable(node: Node) -> bool:
    return 0 < node.id <= MAX_ID
