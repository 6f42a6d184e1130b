"""The one way to change anything: durable first, then visible, then published.

`Core.change()` opens a transaction and hands out a `Draft`. What the draft notes is applied to the read model when
the transaction has committed, as one revision with one published `Change`; if it fails nothing is visible. Fields are
noted, not whole records, so that a coalesced update that happens meanwhile is not lost.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from control.policy.compiled import CompiledPolicy
from control.service.election import Advertisers
from control.state.changes import Change, ChangeBus, NodeChange
from control.state.mesh import MeshModel
from control.state.records import AuditRecord, NodeRecord, UserRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.document import Policy
    from control.service.actor import Actor
    from control.service.settings import ServiceSettings
    from control.state.database import Database
    from control.state.records import PolicyRecord, TailnetId
    from control.state.transaction import Transaction

_POLICY_FACTS = ("user_id", "tags", "ipv4", "ipv6", "advertised_routes", "approved_routes")


class Draft:
    """Changes of one transaction: written to the database at once, to the read model after the commit."""

    def __init__(self, tx: Transaction, actor: Actor, now: datetime) -> None:
        self.tx = tx
        self.actor = actor
        self.now = now
        self.added: list[NodeRecord] = []
        self.patches: list[tuple[NodeId, dict[str, Any]]] = []
        self.removed: list[NodeId] = []
        self.users: dict[UserId, UserRecord | None] = {}
        self.policy: tuple[PolicyRecord, Policy] | None = None

    async def add_node(self, node: NodeRecord) -> NodeRecord:
        """Store a new node; the database gives its id."""
        stored = replace(node, id=await self.tx.add_node(node))
        self.added.append(stored)
        return stored

    async def patch_node(self, node_id: NodeId, **fields: Any) -> None:
        await self.tx.change_node(node_id, fields)
        self.patches.append((node_id, fields))

    async def remove_node(self, node_id: NodeId) -> None:
        await self.tx.remove_node(node_id)
        self.removed.append(node_id)

    async def audit(
        self, action: str, target: str, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None
    ) -> None:
        """An entry of the audit log; `before` and `after` hold what differs, never a secret."""
        entry = AuditRecord(self.now, self.actor.name, action, target, _json(before), _json(after))
        await self.tx.add_audit(entry)


def _json(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return ""
    return json.dumps({name: _plain(value) for name, value in values.items()}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


class Core:
    """State shared by all operations of one tailnet."""

    def __init__(
        self,
        *,
        database: Database,
        tailnet_id: TailnetId,
        settings: ServiceSettings,
        clock: Clock,
        randomness: Randomness,
        policy: tuple[PolicyRecord, Policy],
        bus: ChangeBus,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.randomness = randomness
        self.policy_record, self.policy = policy
        self.compiled = CompiledPolicy(self.policy, (), ())
        self.model = MeshModel(domain=settings.domain, derp_map=settings.derp_map, policy=self.compiled)
        self.bus = bus
        self._database = database
        self._tailnet_id = tailnet_id
        self._lock = asyncio.Lock()
        self._advertisers = Advertisers()
        self._unwritten: dict[NodeId, set[str]] = {}

    async def load(self) -> None:
        """Fill the read model from the database."""
        async with self._database.begin(self._tailnet_id) as tx:
            users, nodes = await tx.users(), await tx.nodes()
        for user in users:
            self.model.put_user(user)
        for node in nodes:
            self.model.put_node(node)
            self._advertisers.change(None, node)
        self._compile()

    def _compile(self) -> None:
        self.compiled = CompiledPolicy(self.policy, self.model.users.values(), self.model.nodes.values())
        self.model.set_policy(self.compiled)

    def owner_of(self, node: NodeRecord) -> UserRecord | None:
        return None if node.user_id is None else self.model.users.get(node.user_id)

    # Durable changes

    @asynccontextmanager
    async def change(self, actor: Actor) -> AsyncIterator[Draft]:
        """One transaction at a time. Inside, the read model stands still except for coalesced updates."""
        async with self._lock:
            async with self._database.begin(self._tailnet_id) as tx:
                draft = Draft(tx, actor, self.clock.wall_now())
                yield draft
            self._apply(draft)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """For what the read model does not hold: pre-auth keys and the audit log."""
        async with self._database.begin(self._tailnet_id) as tx:
            yield tx

    def _apply(self, draft: Draft) -> None:
        changes = [NodeChange(None, node) for node in draft.added]
        everything = draft.policy is not None
        for user_id, user in draft.users.items():
            everything = self._apply_user(user_id, user) or everything
        for node_id, fields in draft.patches:
            current = self.model.nodes.get(node_id)
            if current is not None:
                changes.append(NodeChange(current, replace(current, **fields)))
                self.model.put_node(changes[-1].after or current)
        changes = _joined(changes)
        removed = (self.model.nodes.get(node_id) for node_id in draft.removed)
        changes.extend(NodeChange(node, None) for node in removed if node is not None)
        if draft.policy is not None:
            self.policy_record, self.policy = draft.policy
        self._show(changes, everything=everything, users=frozenset(draft.users))

    def _apply_user(self, user_id: UserId, user: UserRecord | None) -> bool:
        """Returns whether the policy must be compiled anew."""
        known = user_id in self.model.users
        if user is None:
            self.model.remove_user(user_id)
            return True
        self.model.put_user(user)
        if not known:
            self.compiled.put_user(user)
        return known

    # Coalesced changes

    def touch(self, node_id: NodeId, *, publish: bool = True, **fields: Any) -> None:
        """Change what is not identity: visible at once, written with the next flush."""
        current = self.model.nodes.get(node_id)
        if current is None:
            return
        self._unwritten.setdefault(node_id, set()).update(fields)
        after = replace(current, **fields)
        if publish:
            self._show([NodeChange(current, after)])
        else:
            self.model.put_node(after)

    async def flush(self) -> None:
        """Write what `touch` left."""
        unwritten, self._unwritten = self._unwritten, {}
        if not unwritten:
            return
        try:
            async with self._database.begin(self._tailnet_id) as tx:
                for node_id, names in unwritten.items():
                    node = self.model.nodes.get(node_id)
                    if node is not None:
                        await tx.change_node(node_id, {name: getattr(node, name) for name in names})
        except BaseException:
            for node_id, names in unwritten.items():
                self._unwritten.setdefault(node_id, set()).update(names)
            raise

    # Making visible

    def show_online(self, node_id: NodeId, online: bool) -> None:
        """A node came or went."""
        if not self.model.set_online(node_id, online):
            return
        moved = self._elect(self.model.nodes[node_id].subnet_routes)
        self._publish(viewers={node_id} | self._viewers_of(moved | {node_id}), online={node_id: online}, moved=moved)

    def show_expired(self, node_ids: list[NodeId]) -> None:
        """Keys expired by the passing of time."""
        nodes = [self.model.nodes[node_id] for node_id in node_ids if node_id in self.model.nodes]
        self._show([NodeChange(node, node) for node in nodes])

    def show_everything(self) -> None:
        """DERP map or another setting of all nodes changed."""
        self._show([], everything=True)

    def _show(
        self, changes: list[NodeChange], *, everything: bool = False, users: frozenset[UserId] = frozenset()
    ) -> None:
        if not (changes or everything or users):
            return
        viewers: set[NodeId] = set()
        refiltered: set[NodeId] = set()
        routes: set[Prefix] = set()
        for change in changes:
            routes |= self._advertisers.change(change.before, change.after)
            if change.after is not None:
                routes.update(change.after.subnet_routes)
            self._show_node(change, viewers, refiltered)
        if everything:
            self._compile()
        moved = self._elect(routes)
        viewers |= self._viewers_of(moved)
        self._publish(viewers, {}, moved, changes, users, refiltered, everything)

    def _show_node(self, change: NodeChange, viewers: set[NodeId], refiltered: set[NodeId]) -> None:
        before, after = change.before, change.after
        if after is None:
            self.model.remove_node(change.node_id)
            self._unwritten.pop(change.node_id, None)
            delta = self.compiled.remove_node(change.node_id)
        else:
            self.model.put_node(after)
            if before is not None and all(getattr(before, name) == getattr(after, name) for name in _POLICY_FACTS):
                viewers |= self.model.visible_peers(after.id) | {after.id}
                return
            delta = self.compiled.put_node(after)
        viewers |= delta.viewers
        refiltered |= delta.refiltered

    def _viewers_of(self, node_ids: set[NodeId] | frozenset[NodeId]) -> set[NodeId]:
        found: set[NodeId] = set()
        for node_id in node_ids:
            if node_id in self.model.nodes:
                found |= self.model.visible_peers(node_id) | {node_id}
        return found

    def _elect(self, routes: set[Prefix] | tuple[Prefix, ...]) -> frozenset[NodeId]:
        now = self.clock.wall_now()

        def healthy(node_id: NodeId) -> bool:
            return self.model.is_online(node_id) and not self.model.nodes[node_id].is_expired(now)

        return self.model.set_primaries(self._advertisers.elect_all(routes, self.model.primary_of, healthy))

    def _publish(
        self,
        viewers: set[NodeId],
        online: Mapping[NodeId, bool],
        moved: frozenset[NodeId],
        changes: list[NodeChange] | None = None,
        users: frozenset[UserId] = frozenset(),
        refiltered: set[NodeId] | None = None,
        everything: bool = False,
    ) -> None:
        self.bus.publish(
            Change(
                revision=self.model.next_revision(),
                nodes=tuple(changes or ()),
                online=online,
                routes_moved=moved,
                users=users,
                viewers=frozenset(viewers),
                refiltered=frozenset(refiltered or ()),
                everything=everything,
            )
        )


def _joined(changes: list[NodeChange]) -> list[NodeChange]:
    """Several changes of one node as one."""
    joined: dict[NodeId, NodeChange] = {}
    for change in changes:
        former = joined.get(change.node_id)
        joined[change.node_id] = NodeChange(former.before if former else change.before, change.after)
    return list(joined.values())
