"""The other control processes of the mesh: which nodes they serve, whether they live, and who elects primaries.

Soft state, told by notices and told anew whenever one joins; what is durable goes through the change log. While the
database is away nobody is heard, and nobody is taken for dead. The process that has been up longest elects the
primaries of subnet routes for all; without the database each elects for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from appliance.types.ids import NodeId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from appliance.types.addresses import Prefix

BEAT_S = 3.0
SILENCE_S = 10.0
"""A process that says nothing for so long is dead; its nodes come back elsewhere within their own back-off."""
NODES_A_NOTICE = 400
ROUTES_A_NOTICE = 60

_log = structlog.get_logger(__name__)


class Notice(msgspec.Struct, omit_defaults=True):
    """What processes tell each other. `first`: forget what was told before."""

    sender: str
    kind: str
    first: bool = False
    on: list[int] = []
    off: list[int] = []
    routes: dict[str, int | None] = {}


class Mesh(Protocol):
    """What the notices act on; `control.service.core.Core` is it."""

    def show_elsewhere(self, node_id: NodeId) -> None:
        """Other processes began or stopped to serve the node."""
        ...

    def follow_primaries(self, routes: Iterable[Prefix]) -> None:
        """The leader moved these routes, or leadership did."""
        ...

    def reelect(self, node_ids: Collection[NodeId]) -> None:
        """The health of these routers changed elsewhere."""
        ...

    def all_routes(self) -> Iterable[Prefix]: ...

    def primaries(self) -> Mapping[Prefix, NodeId]: ...

    def stale(self) -> None:
        """The change log has news."""
        ...


@dataclass(slots=True)
class _Other:
    """Another process. `leaving`: it said farewell; its nodes count until then. `unwell`: its silent routers."""

    heard: float
    nodes: set[NodeId] = field(default_factory=set)
    unwell: set[NodeId] = field(default_factory=set)
    leaving: float | None = None


class Processes:
    """Times are monotonic seconds; drive it with `tick`, about once a second."""

    def __init__(self, mesh: Mesh, me: str, post: Callable[[str], None], grace_s: float) -> None:
        self._mesh = mesh
        self.me = me
        self._post = post
        self._grace_s = grace_s
        self._mine: set[NodeId] = set()
        self._unwell: set[NodeId] = set()
        self._others: dict[str, _Other] = {}
        self._up = False
        self._beaten = 0.0
        self._led = True
        self._now = 0.0
        self.table: dict[Prefix, NodeId] = {}
        """Primaries as the leader told."""

    @property
    def leads(self) -> bool:
        """Whether this process elects primaries."""
        living = (name for name, other in self._others.items() if other.leaving is None)
        return not self._up or self.me <= min(living, default=self.me)

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(sorted(self._others))

    @property
    def farewell(self) -> str:
        return self._text(Notice(self.me, "bye"))

    def serve(self, node_id: NodeId) -> bool:
        """Whether another process serves the node."""
        return any(node_id in other.nodes for other in self._others.values())

    def calls_unwell(self, node_id: NodeId) -> bool:
        """Whether another process asked this router and got no answer."""
        return any(node_id in other.unwell for other in self._others.values())

    def tell_health(self, answers: Mapping[NodeId, bool]) -> None:
        """Routers of this process answered a probe, or did not."""
        well = {node_id for node_id, is_well in answers.items() if is_well}
        self._unwell = (self._unwell | answers.keys()) - well
        self._send(Notice(self.me, "health", on=sorted(well), off=sorted(answers.keys() - well)))

    def announce(self, node_id: NodeId, online: bool) -> None:
        """A node of this process came or went."""
        if online:
            self._mine.add(node_id)
            self._send(Notice(self.me, "nodes", on=[node_id]))
        elif node_id in self._mine:
            self._mine.discard(node_id)
            self._send(Notice(self.me, "nodes", off=[node_id]))

    def tell_primaries(self, routes: Mapping[Prefix, NodeId | None]) -> None:
        """Only the leader's word counts, so only the leader speaks."""
        if not self._up or not self.leads:
            return
        texts = [(str(route), node_id) for route, node_id in routes.items()]
        for start in range(0, len(texts), ROUTES_A_NOTICE):
            self._send(Notice(self.me, "primaries", routes=dict(texts[start : start + ROUTES_A_NOTICE])))

    def connected(self, up: bool) -> None:
        """The way to the others opened or broke."""
        self._up = up
        if not up:
            self._lead()
            return
        for other in self._others.values():
            other.heard = self._now
        self._mesh.stale()
        self._send(Notice(self.me, "hello"))
        self._tell_all()

    def tick(self, now: float) -> None:
        """Say that this one lives, and look who does not any more."""
        self._now = now
        if not self._up:
            return
        if now - self._beaten >= BEAT_S:
            self._beaten = now
            self._send(Notice(self.me, "beat"))
        for name, other in list(self._others.items()):
            if now - other.heard >= SILENCE_S or (other.leaving is not None and other.leaving <= now):
                _log.info("another control process is gone", process=name, nodes=len(other.nodes))
                del self._others[name]
                self._show(other.nodes)
        self._lead()

    def heard(self, text: str) -> None:
        """A notice of the channel: a revision of the change log, or what a process tells."""
        if text.isdigit():
            self._mesh.stale()
            return
        try:
            notice = msgspec.json.decode(text, type=Notice)
        except msgspec.MsgspecError:
            _log.warning("a notice of another version was ignored", notice=text[:80])
            return
        if notice.sender != self.me:
            self._take(notice)

    def _take(self, notice: Notice) -> None:
        other = self._others.get(notice.sender)
        if other is None:
            other = self._others[notice.sender] = _Other(self._now)
            if notice.kind != "hello":
                self._send(Notice(self.me, "hello"))
        other.heard = self._now
        match notice.kind:
            case "hello":
                self._tell_all()
            case "nodes":
                self._take_nodes(other, notice)
            case "health":
                self._take_health(other, notice)
            case "primaries":
                self._take_primaries(notice)
            case "bye":
                other.leaving = self._now + self._grace_s
        self._lead()

    def _take_nodes(self, other: _Other, notice: Notice) -> None:
        before = set(other.nodes)
        if notice.first:
            other.nodes.clear()
        other.nodes.update(NodeId(each) for each in notice.on)
        other.nodes.difference_update(NodeId(each) for each in notice.off)
        self._show(before ^ other.nodes)

    def _take_health(self, other: _Other, notice: Notice) -> None:
        before = set(other.unwell)
        if notice.first:
            other.unwell.clear()
        other.unwell.update(NodeId(each) for each in notice.off)
        other.unwell.difference_update(NodeId(each) for each in notice.on)
        self._mesh.reelect(before ^ other.unwell)

    def _take_primaries(self, notice: Notice) -> None:
        if self.leads or notice.sender != min(self._others, default=""):
            return
        routes = {}
        for text, node_id in notice.routes.items():
            route = ip_network(text)
            routes[route] = node_id
            if node_id is None:
                self.table.pop(route, None)
            else:
                self.table[route] = NodeId(node_id)
        self._mesh.follow_primaries(routes)

    def _show(self, node_ids: set[NodeId]) -> None:
        for node_id in node_ids:
            self._mesh.show_elsewhere(node_id)

    def _lead(self) -> None:
        """Begin to elect where nobody else does."""
        if self.leads and not self._led:
            self._mesh.follow_primaries(self._mesh.all_routes())
        self._led = self.leads

    def _tell_all(self) -> None:
        mine: list[int] = sorted(self._mine)
        self._send(Notice(self.me, "nodes", first=True, on=mine[:NODES_A_NOTICE]))
        for start in range(NODES_A_NOTICE, len(mine), NODES_A_NOTICE):
            self._send(Notice(self.me, "nodes", on=mine[start : start + NODES_A_NOTICE]))
        unwell: list[int] = sorted(self._unwell)
        self._send(Notice(self.me, "health", first=True, off=unwell[:NODES_A_NOTICE]))
        self.tell_primaries(self._mesh.primaries())

    def _send(self, notice: Notice) -> None:
        self._post(self._text(notice))

    @staticmethod
    def _text(notice: Notice) -> str:
        return msgspec.json.encode(notice).decode()
