"""The one way to change anything: durable first, then visible, then published.

`Core.change()` opens a transaction and hands out a `Draft`. What the draft notes is applied to the read model when
the transaction has committed, as one revision with one published `Change`; if it fails nothing is visible. Fields are
noted, not whole records, so that a coalesced update that happens meanwhile is not lost.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from appliance.types.errors import ApplianceError
from control.policy.compiled import CompiledPolicy, PolicyDelta
from control.policy.document import parse_policy
from control.service.draft import Draft
from control.service.election import Advertisers
from control.service.processes import Processes
from control.state.changes import Change, ChangeBus, NodeChange
from control.state.mesh import MeshModel
from control.state.notices import Notices
from control.state.records import NodeRecord, UserRecord
from control.state.transaction import Touched, channel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.model import Policy
    from control.service.actor import Actor
    from control.service.settings import ServiceSettings
    from control.state.database import Database
    from control.state.records import PolicyRecord, TailnetId
    from control.state.transaction import Transaction

__all__ = ["Core", "Draft"]

_log = structlog.get_logger(__name__)

_POLICY_FACTS = ("user_id", "tags", "ipv4", "ipv6", "advertised_routes", "approved_routes", "attributes")


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
        self._seen = 0
        self._eager: set[NodeId] = set()
        self._moved_routes: set[Prefix] = set()
        self._unwell: set[NodeId] = set()
        self.expected: frozenset[NodeId] = frozenset()
        self.news = asyncio.Event()
        """Other processes committed something; `catch_up` takes it in."""
        self.hurry = asyncio.Event()
        """Other processes wait for what `touch` left; `flush` writes it."""
        self.is_served_here: Callable[[NodeId], bool] = lambda _: False
        self.processes: Processes | None = None
        if database.shared:
            self._make_processes(database)

    def _make_processes(self, database: Database) -> None:
        """The name sorts by age: the oldest process leads."""
        me = f"{int(self.clock.wall_now().timestamp() * 1000):013d}-{self.randomness.bytes(4).hex()}"
        processes = Processes(self, me, lambda notice: self.notices.post(notice), self.settings.online_grace_s)
        name = channel(self._tailnet_id)
        self.notices = Notices(database.url, name, processes.heard, processes.connected)
        self.processes = processes

    async def load(self) -> None:
        """Fill the read model from the database."""
        async with self._database.begin(self._tailnet_id) as tx:
            self._seen = await tx.lock()
            users, nodes, primaries = await tx.users(), await tx.nodes(), await tx.primaries()
        for user in users:
            self.model.put_user(user)
        for node in nodes:
            self.model.put_node(node)
            self._advertisers.change(None, node)
        self.model.set_primaries(
            {route: node_id for route, node_id in primaries.items() if node_id in self._advertisers.of(route)}
        )
        self._compile()

    def _compile(self) -> None:
        users, nodes = self.model.users.values(), self.model.nodes.values()
        self.compiled = CompiledPolicy(self.policy, users, nodes, rank=self.router_rank)
        self.model.set_policy(self.compiled)

    def _recompile(self) -> frozenset[NodeId]:
        """Compile anew; nodes that lost or got back their IPv4 address by it."""
        before = self.compiled.without_ipv4()
        self._compile()
        return before ^ self.compiled.without_ipv4()

    def draw(self) -> int | None:
        """Where to look for a free address; None = after the last one given."""
        return int.from_bytes(self.randomness.bytes(16), "big") if self.settings.random_addresses else None

    def owner_of(self, node: NodeRecord) -> UserRecord | None:
        return None if node.user_id is None else self.model.users.get(node.user_id)

    # Durable changes

    @asynccontextmanager
    async def change(self, actor: Actor) -> AsyncIterator[Draft]:
        """One transaction at a time. Inside, the read model stands still except for coalesced updates."""
        async with self._lock:
            revision = 0
            async with self._database.begin(self._tailnet_id) as tx:
                if self.processes is not None:
                    revision = await self._turn(tx)
                draft = Draft(tx, actor, self.clock.wall_now())
                yield draft
                if revision and draft.touched():
                    await tx.log_change(draft.touched(), revision)
            if revision and draft.touched():
                self._seen = revision
            self._apply(draft)

    # Several processes

    async def _turn(self, tx: Transaction) -> int:
        """Wait until no other process writes and take in what they wrote; the revision that may be written now."""
        revision = await tx.lock()
        if revision > self._seen:
            await self._take_news(tx)
        return revision + 1

    async def catch_up(self) -> None:
        """Take in what other processes committed."""
        self.news.clear()
        try:
            async with self._lock, self._database.begin(self._tailnet_id) as tx:
                await self._take_news(tx)
        except BaseException:
            self.news.set()
            raise

    async def _take_news(self, tx: Transaction) -> None:
        last, touched = await tx.touched_since(self._seen)
        if touched is None:
            nodes, users = await tx.nodes(), await tx.users()
            touched = Touched(frozenset(self.model.nodes), frozenset(self.model.users), policy=True)
        else:
            nodes, users = await tx.nodes_by_id(touched.nodes), await tx.users_by_id(touched.users)
        policy = await tx.policy() if touched.policy else None
        self._seen = last
        self._show_news(touched, {node.id: node for node in nodes}, {user.id: user for user in users}, policy)

    def _show_news(
        self,
        touched: Touched,
        nodes: dict[NodeId, NodeRecord],
        users: dict[UserId, UserRecord],
        policy: PolicyRecord | None,
    ) -> None:
        everything = self._take_policy(policy)
        changed = {each: users.get(each) for each in touched.users | set(users)}
        changed = {each: user for each, user in changed.items() if self.model.users.get(each) != user}
        for user_id, user in changed.items():
            everything = self._apply_user(user_id, user) or everything
        changes = []
        for node_id in touched.nodes | set(nodes):
            before, after = self.model.nodes.get(node_id), nodes.get(node_id)
            if before is not None and after is not None:
                kept = {name: getattr(before, name) for name in self._unwritten.get(node_id, ())}
                after = replace(after, **kept)
            if before != after:
                changes.append(NodeChange(before, after))
        self._show(changes, everything=everything, users=frozenset(changed))
        for change in changes:
            self.show_elsewhere(change.node_id)

    def _take_policy(self, record: PolicyRecord | None) -> bool:
        if record is None or record.version == self.policy_record.version:
            return False
        try:
            self.policy = parse_policy(record.text)
        except ApplianceError as error:
            _log.error("a policy set by another process cannot be read, the former stays", error=error.line())
            return False
        self.policy_record = record
        return True

    # control.service.processes.Mesh

    def stale(self) -> None:
        self.news.set()

    def show_elsewhere(self, node_id: NodeId) -> None:
        if node_id in self.model.nodes and self.processes is not None:
            elsewhere = self.processes.serve(node_id)
            if elsewhere and node_id in self._unwell:
                self.show_health({node_id: True})  # what was found here is older than its stream there
            self.show_online(node_id, self.is_served_here(node_id) or elsewhere)

    def reelect(self, node_ids: Collection[NodeId]) -> None:
        nodes = (self.model.nodes.get(node_id) for node_id in node_ids)
        routes = {route for node in nodes if node is not None for route in node.subnet_routes}
        moved = self._elect(routes) | self._companions(node_ids)
        if moved:
            self._publish(self._viewers_of(moved), {}, moved)

    def _companions(self, node_ids: Iterable[NodeId]) -> frozenset[NodeId]:
        """Routers whose routes may move by grants with `via` when these become well or unwell."""
        return frozenset().union(*(self.compiled.companions(node_id) for node_id in node_ids))

    def all_routes(self) -> Iterable[Prefix]:
        return self._advertisers.routes()

    def primaries(self) -> Mapping[Prefix, NodeId]:
        return self.model.primaries()

    def follow_primaries(self, routes: Iterable[Prefix]) -> None:
        moved = self._elect(tuple(routes))
        if moved:
            self._publish(self._viewers_of(moved), {}, moved)

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
        if publish:
            self._eager.add(node_id)
            self.hurry.set()
        after = replace(current, **fields)
        if publish:
            self._show([NodeChange(current, after)])
        else:
            self.model.put_node(after)

    async def flush(self) -> None:
        """Write what `touch` left, and which subnets moved."""
        unwritten, self._unwritten = self._unwritten, {}
        eager, self._eager = self._eager, set()
        moved, self._moved_routes = self._moved_routes, set()
        self.hurry.clear()
        if not unwritten and not moved:
            return
        try:
            async with self._database.begin(self._tailnet_id) as tx:
                revision = await tx.lock() + 1
                known = {one: node for one in unwritten if (node := self.model.nodes.get(one)) is not None}
                await tx.change_nodes(
                    {one: {name: getattr(node, name) for name in unwritten[one]} for one, node in known.items()}
                )
                await tx.set_primaries({route: self.model.primary_of(route) for route in moved})
                if eager and self.processes is not None:
                    await tx.log_change(Touched(nodes=frozenset(eager)), revision)
        except BaseException:
            self._eager |= eager
            self._moved_routes |= moved
            for node_id, names in unwritten.items():
                self._unwritten.setdefault(node_id, set()).update(names)
            raise

    # Making visible

    def show_online(self, node_id: NodeId, online: bool) -> None:
        """A node came or went."""
        if not self.model.set_online(node_id, online):
            return
        moved = self._elect(self.model.nodes[node_id].subnet_routes) | self._companions([node_id])
        self._publish(viewers={node_id} | self._viewers_of(moved | {node_id}), online={node_id: online}, moved=moved)

    def show_back(self, node_ids: Collection[NodeId]) -> None:
        """Nodes that count as online from the start; primaries are chosen when all of them are."""
        came = {node_id: True for node_id in node_ids if self.model.set_online(node_id, True)}
        routes = {route for node_id in came for route in self.model.nodes[node_id].subnet_routes}
        moved = self._elect(routes) | self._companions(came)
        self._publish(self._viewers_of(moved | came.keys()), came, moved)

    def contested_routers(self) -> set[NodeId]:
        """Nodes that serve a subnet which another one serves too."""
        return self._advertisers.contested()

    def rivals(self, node_id: NodeId) -> set[NodeId]:
        """Other nodes that serve a subnet which this one serves."""
        node = self.model.nodes.get(node_id)
        routes = () if node is None else node.subnet_routes
        return {one for route in routes for one in self._advertisers.of(route)} - {node_id}

    def router_rank(self, node_id: NodeId) -> int:
        """How good a router it is now: 0 = offline or its key expired, 1 = it does not answer probes, 2 = well, or
        expected back after a restart of this server."""
        node = self.model.nodes.get(node_id)
        if node is None or node.is_expired(self.clock.wall_now()):
            return 0
        if not self.model.is_online(node_id):
            return 2 if node_id in self.expected else 0
        elsewhere = self.processes is not None and self.processes.calls_unwell(node_id)
        return 1 if elsewhere or node_id in self._unwell else 2

    def show_health(self, answers: Mapping[NodeId, bool]) -> None:
        """Routers that are served here answered a probe, or did not; primaries follow."""
        changed = {
            node_id: well
            for node_id, well in answers.items()
            if node_id in self.model.nodes and (node_id in self._unwell) is well
        }
        if not changed:
            return
        for node_id, well in changed.items():
            (self._unwell.discard if well else self._unwell.add)(node_id)
            log = _log.info if well else _log.warning
            log("a router answers again" if well else "a router does not answer", node=node_id)
        if self.processes is not None:
            self.processes.tell_health(changed)
        self.reelect(changed)

    def show_expired(self, node_ids: list[NodeId]) -> None:
        """Keys expired by the passing of time."""
        nodes = [self.model.nodes[node_id] for node_id in node_ids if node_id in self.model.nodes]
        self._show([NodeChange(node, node) for node in nodes])
        moved = self._companions(node_ids)
        if moved:
            self._publish(self._viewers_of(moved), {}, moved)

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
        ssh: set[NodeId] = set()
        routes: set[Prefix] = set()
        rerouted: set[NodeId] = set()
        for change in changes:
            routes |= self._advertisers.change(change.before, change.after)
            if change.after is not None:
                routes.update(change.after.subnet_routes)
            delta = self._show_node(change)
            viewers |= delta.viewers
            refiltered |= delta.refiltered
            ssh |= delta.ssh
            rerouted |= delta.rerouted
        if everything:
            rerouted |= self._recompile()
        moved = self._elect(routes) | (rerouted & self.model.nodes.keys())
        viewers |= self._viewers_of(moved)
        self._publish(viewers, {}, moved, changes, users, refiltered, everything, ssh=ssh)

    def _show_node(self, change: NodeChange) -> PolicyDelta:
        before, after = change.before, change.after
        if after is None:
            self.model.remove_node(change.node_id)
            self._unwritten.pop(change.node_id, None)
            self._unwell.discard(change.node_id)
            return self.compiled.remove_node(change.node_id)
        self.model.put_node(after)
        if before is not None and all(getattr(before, name) == getattr(after, name) for name in _POLICY_FACTS):
            return PolicyDelta(self.model.visible_peers(after.id) | {after.id}, frozenset())
        return self.compiled.put_node(after)

    def _viewers_of(self, node_ids: set[NodeId] | frozenset[NodeId]) -> set[NodeId]:
        found: set[NodeId] = set()
        for node_id in node_ids:
            if node_id in self.model.nodes:
                found |= self.model.visible_peers(node_id) | {node_id}
        return found

    def _elect(self, routes: set[Prefix] | tuple[Prefix, ...]) -> frozenset[NodeId]:
        if self.processes is not None and not self.processes.leads:
            return self.model.set_primaries({route: self._led_primary(route) for route in routes})
        wanted = self._advertisers.elect_all(routes, self.model.primary_of, self.router_rank)
        before = self.model.primaries()
        moved = {route: node_id for route, node_id in wanted.items() if before.get(route) != node_id}
        self._moved_routes |= moved.keys()
        if self.processes is not None:
            self.processes.tell_primaries(moved)
        return self.model.set_primaries(wanted)

    def _led_primary(self, route: Prefix) -> NodeId | None:
        """What the leading process elected, as far as this one knows the node yet."""
        assert self.processes is not None
        node_id = self.processes.table.get(route)
        return node_id if node_id in self._advertisers.of(route) else None

    def _publish(
        self,
        viewers: set[NodeId],
        online: Mapping[NodeId, bool],
        moved: frozenset[NodeId],
        changes: list[NodeChange] | None = None,
        users: frozenset[UserId] = frozenset(),
        refiltered: set[NodeId] | None = None,
        everything: bool = False,
        *,
        ssh: set[NodeId] | None = None,
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
                ssh=frozenset(ssh or ()),
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
