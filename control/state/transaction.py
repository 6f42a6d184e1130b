"""What can be done inside one database transaction; plain statements, no rules of the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Column, Table, bindparam, delete, func, insert, select, text, update

from appliance.types.errors import StateError
from control.state import models
from control.state.addresses import Pool, pool_v4, pool_v6
from control.state.records import (
    ApiKeyId,
    ApiKeyRecord,
    AuditRecord,
    NodeRecord,
    PolicyRecord,
    PreAuthKeyId,
    PreAuthKeyRecord,
    UserRecord,
)
from control.state.rows import all_node_columns, api_key_record, key_record, node_columns, node_record, user_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.state.records import TailnetId

A = TypeVar("A", IPv4Address, IPv6Address)


MAX_PARAMETERS = 1000
KEPT_CHANGES = 4096
"""A process that missed more than this many loads everything anew."""
PRUNE_EVERY = 256


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows that a change added, changed or removed; `policy`: there is a newer version."""

    nodes: frozenset[NodeId] = frozenset()
    users: frozenset[UserId] = frozenset()
    policy: bool = False

    def __bool__(self) -> bool:
        return bool(self.nodes or self.users or self.policy)


def channel(tailnet_id: TailnetId) -> str:
    """PostgreSQL's NOTIFY channel of the tailnet's processes."""
    return f"waypost_{tailnet_id}"


def _exhausted() -> StateError:
    return StateError("all overlay addresses are given", mend="delete nodes that are not used any more")


class Transaction:
    """Statements on one tailnet's rows."""

    def __init__(self, connection: AsyncConnection, tailnet_id: TailnetId) -> None:
        self._connection = connection
        self._tailnet = tailnet_id

    # Tailnet and audit

    async def ensure_tailnet(self, name: str, now: datetime) -> None:
        """Create the tailnet's row where it is missing; a changed domain renames it."""
        if self._connection.dialect.name == "postgresql":
            await self._connection.execute(text("LOCK TABLE tailnets IN SHARE ROW EXCLUSIVE MODE"))
        found = await self._connection.execute(
            update(models.tailnets).where(models.tailnets.c.id == self._tailnet).values(name=name)
        )
        if found.rowcount == 0:
            await self._connection.execute(insert(models.tailnets).values(id=self._tailnet, name=name, created=now))

    async def add_audit(self, entry: AuditRecord) -> None:
        values = {name: getattr(entry, name) for name in ("time", "actor", "action", "target", "before", "after")}
        await self._insert(models.audit_entries, values)

    async def audit_entries(
        self, limit: int, *, who: str = "", action: str = "", target: str = ""
    ) -> list[AuditRecord]:
        """The newest entries, newest first; `action` and `target` are beginnings, "" = any."""
        table = models.audit_entries
        query = select(table).where(table.c.tailnet_id == self._tailnet).order_by(table.c.id.desc()).limit(limit)
        if who:
            query = query.where(table.c.actor == who)
        query = query.where(
            table.c.action.startswith(action, autoescape=True), table.c.target.startswith(target, autoescape=True)
        )
        rows = (await self._connection.execute(query)).mappings()
        names = ("time", "actor", "action", "target", "before", "after")
        return [AuditRecord(**{name: row[name] for name in names}) for row in rows]

    # The change log of several processes

    async def lock(self) -> int:
        """Wait for one's turn among all processes that write to this tailnet; its revision."""
        table = models.tailnets
        query = select(table.c.revision).where(table.c.id == self._tailnet).with_for_update()
        return int((await self._connection.execute(query)).scalar_one())

    async def log_change(self, touched: Touched, revision: int) -> None:
        """Say what this transaction touches; only under `lock`. Others are told when it commits."""
        await self._connection.execute(
            update(models.tailnets).where(models.tailnets.c.id == self._tailnet).values(revision=revision)
        )
        await self._connection.execute(
            insert(models.changes).values(
                tailnet_id=self._tailnet,
                revision=revision,
                node_ids=json.dumps(sorted(touched.nodes)),
                user_ids=json.dumps(sorted(touched.users)),
                policy=touched.policy,
            )
        )
        if revision % PRUNE_EVERY == 0:
            old = models.changes.c.revision <= revision - KEPT_CHANGES
            await self._connection.execute(
                delete(models.changes).where(models.changes.c.tailnet_id == self._tailnet, old)
            )
        await self._connection.execute(
            text("SELECT pg_notify(:channel, :told)"), {"channel": channel(self._tailnet), "told": f"{revision}"}
        )

    async def touched_since(self, revision: int) -> tuple[int, Touched | None]:
        """The newest revision and what was touched after `revision`; None = the log does not go back so far."""
        table = models.changes
        query = select(table).where(table.c.tailnet_id == self._tailnet, table.c.revision > revision)
        rows = (await self._connection.execute(query.order_by(table.c.revision))).mappings().all()
        newest = select(models.tailnets.c.revision).where(models.tailnets.c.id == self._tailnet)
        last = int((await self._connection.execute(newest)).scalar_one())
        if last - revision > len(rows):
            return last, None
        nodes = frozenset(each for row in rows for each in json.loads(row["node_ids"]))
        users = frozenset(each for row in rows for each in json.loads(row["user_ids"]))
        newest_read = rows[-1]["revision"] if rows else revision
        return newest_read, Touched(nodes, users, any(row["policy"] for row in rows))

    # Users

    async def users(self) -> list[UserRecord]:
        return [user_record(row) for row in await self._all(models.users)]

    async def add_user(self, values: Mapping[str, Any]) -> UserId:
        return await self._insert(models.users, values)  # type: ignore[return-value]  # the id column

    async def change_user(self, user_id: UserId, values: Mapping[str, Any]) -> None:
        await self._update(models.users, user_id, values)

    async def remove_user(self, user_id: UserId) -> None:
        """The user's keys go too; nodes must be gone already."""
        table = models.pre_auth_keys
        gone = select(table.c.id).where(table.c.user_id == user_id)
        await self._connection.execute(
            update(models.nodes).where(models.nodes.c.pre_auth_key_id.in_(gone)).values(pre_auth_key_id=None)
        )
        await self._connection.execute(delete(table).where(table.c.user_id == user_id))
        await self._connection.execute(delete(models.api_keys).where(models.api_keys.c.user_id == user_id))
        await self._delete(models.users, user_id)

    # Nodes

    async def nodes(self) -> list[NodeRecord]:
        return [node_record(row) for row in await self._all(models.nodes)]

    async def add_node(self, node: NodeRecord) -> NodeId:
        """Insert all but the id, which the database gives."""
        return await self._insert(models.nodes, all_node_columns(node))  # type: ignore[return-value]  # the id column

    async def change_node(self, node_id: NodeId, values: Mapping[str, Any]) -> None:
        """Set the given attributes of `NodeRecord`."""
        columns = node_columns(values)
        if columns:
            await self._update(models.nodes, node_id, columns)

    async def change_nodes(self, changes: Mapping[NodeId, Mapping[str, Any]]) -> None:
        """The same for many: one statement for all that set the same attributes. Those that are gone are left out."""
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for node_id, values in changes.items():
            columns = node_columns(values)
            if columns:
                row = {"row_id": node_id, **{f"new_{name}": value for name, value in columns.items()}}
                groups.setdefault(tuple(sorted(columns)), []).append(row)
        nodes = models.nodes
        for names, rows in groups.items():
            where = (nodes.c.id == bindparam("row_id")) & (nodes.c.tailnet_id == self._tailnet)
            statement = update(nodes).where(where).values({name: bindparam(f"new_{name}") for name in names})
            await self._connection.execute(statement, rows)

    async def remove_node(self, node_id: NodeId) -> None:
        await self._delete(models.nodes, node_id)

    async def nodes_by_id(self, node_ids: Iterable[NodeId]) -> list[NodeRecord]:
        """Those that exist."""
        return [node_record(row) for row in await self._some(models.nodes, node_ids)]

    async def users_by_id(self, user_ids: Iterable[UserId]) -> list[UserRecord]:
        return [user_record(row) for row in await self._some(models.users, user_ids)]

    # Primary routers

    async def primaries(self) -> dict[Prefix, NodeId]:
        """Who served each subnet when that was last written."""
        table = models.primaries
        query = select(table).where(table.c.tailnet_id == self._tailnet)
        rows = (await self._connection.execute(query)).mappings()
        return {ip_network(row["route"]): row["node_id"] for row in rows}

    async def set_primaries(self, changed: Mapping[Prefix, NodeId | None]) -> None:
        """None = nobody serves it now."""
        table = models.primaries
        for route, node_id in changed.items():
            where = (table.c.tailnet_id == self._tailnet) & (table.c.route == str(route))
            await self._connection.execute(delete(table).where(where))
            if node_id is not None:
                values = {"tailnet_id": self._tailnet, "route": str(route), "node_id": node_id}
                await self._connection.execute(insert(table).values(values))

    # Addresses

    async def give_ipv4(self, draw: int | None = None) -> IPv4Address:
        """The next one after the last one given; with `draw`, a random number, the first free from there."""
        given = await self._give(("family", 4), pool_v4(), IPv4Address, models.nodes.c.ipv4, draw)
        if given is None:
            raise _exhausted()
        return given

    async def give_ipv4_of(self, network: IPv4Network, draw: int | None = None) -> IPv4Address | None:
        """The same out of one pool of the policy; None: every address of it is given."""
        return await self._give(("pool", str(network)), pool_v4(network), IPv4Address, models.nodes.c.ipv4, draw)

    async def give_ipv6(self, draw: int | None = None) -> IPv6Address:
        given = await self._give(("family", 6), pool_v6(), IPv6Address, models.nodes.c.ipv6, draw)
        if given is None:
            raise _exhausted()
        return given

    async def _give(
        self, counter: tuple[str, int | str], pool: Pool[A], make: type[A], column: Column[Any], draw: int | None
    ) -> A | None:
        """`counter`: column and value that name the row with the last address given."""
        if draw is not None:
            return await self._next_free(pool, pool.at(draw), column)
        name, value = counter
        table = models.pool_counters if name == "pool" else models.address_counters
        where = (table.c.tailnet_id == self._tailnet) & (table.c[name] == value)
        last = (await self._connection.execute(select(table.c.last_given).where(where))).scalar()
        given = await self._next_free(pool, None if last is None else make(last), column)
        if given is None:
            return None
        if last is None:
            values = {"tailnet_id": self._tailnet, name: value, "last_given": str(given)}
            await self._connection.execute(insert(table).values(values))
        else:
            await self._connection.execute(update(table).where(where).values(last_given=str(given)))
        return given

    async def _next_free(self, pool: Pool[A], last: A | None, column: Column[Any]) -> A | None:
        """The next address that no node holds; past the pool's end the search starts over once."""
        candidate, wrapped = pool.after(last), last is None
        while True:
            if candidate is None:
                if wrapped:
                    return None
                candidate, wrapped = pool.after(None), True
                continue
            query = select(func.count()).where(column == str(candidate), models.nodes.c.tailnet_id == self._tailnet)
            if (await self._connection.execute(query)).scalar_one() == 0:
                return candidate
            candidate = pool.after(candidate)

    # Pre-auth keys

    async def keys(self) -> list[PreAuthKeyRecord]:
        return [key_record(row) for row in await self._all(models.pre_auth_keys)]

    async def key_by_prefix(self, prefix: str) -> tuple[PreAuthKeyRecord, bytes] | None:
        """The key and the hash of its secret."""
        table = models.pre_auth_keys
        query = select(table).where(table.c.tailnet_id == self._tailnet, table.c.prefix == prefix)
        row = (await self._connection.execute(query)).mappings().first()
        return None if row is None else (key_record(dict(row)), row["secret_hash"])

    async def add_key(self, key: PreAuthKeyRecord, secret_hash: bytes) -> PreAuthKeyId:
        names = ("prefix", "user_id", "reusable", "ephemeral", "description", "created", "expiry")
        values = {name: getattr(key, name) for name in names}
        values |= {"tags": json.dumps(key.tags), "secret_hash": secret_hash}
        return PreAuthKeyId(await self._insert(models.pre_auth_keys, values))

    async def use_key(self, key_id: PreAuthKeyId, now: datetime) -> bool:
        """Mark as used; False if a single-use key was used already."""
        table = models.pre_auth_keys
        statement = update(table).where(table.c.id == key_id, table.c.reusable | table.c.used.is_(None))
        return (await self._connection.execute(statement.values(used=now))).rowcount == 1

    async def revoke_key(self, key_id: PreAuthKeyId, now: datetime) -> None:
        await self._update(models.pre_auth_keys, key_id, {"revoked": now})

    # API keys

    async def api_keys(self) -> list[ApiKeyRecord]:
        return [api_key_record(row) for row in await self._all(models.api_keys)]

    async def api_key_by_prefix(self, prefix: str) -> tuple[ApiKeyRecord, bytes] | None:
        """The key and the hash of its secret."""
        table = models.api_keys
        query = select(table).where(table.c.tailnet_id == self._tailnet, table.c.prefix == prefix)
        row = (await self._connection.execute(query)).mappings().first()
        return None if row is None else (api_key_record(dict(row)), row["secret_hash"])

    async def add_api_key(self, key: ApiKeyRecord, secret_hash: bytes) -> ApiKeyId:
        names = ("prefix", "author", "description", "created", "expiry", "user_id")
        values = {name: getattr(key, name) for name in names}
        values |= {"scopes": json.dumps(key.scopes), "secret_hash": secret_hash}
        return ApiKeyId(await self._insert(models.api_keys, values))

    async def revoke_api_key(self, key_id: ApiKeyId, now: datetime) -> None:
        await self._update(models.api_keys, key_id, {"revoked": now})

    # Policy

    async def policy(self) -> PolicyRecord:
        """The newest version; version 0 with empty text where there is none."""
        table = models.policies
        query = select(table).where(table.c.tailnet_id == self._tailnet).order_by(table.c.version.desc()).limit(1)
        row = (await self._connection.execute(query)).mappings().first()
        if row is None:
            return PolicyRecord(version=0, text="")
        return PolicyRecord(row["version"], row["text"], row["created"], row["author"])

    async def policies(self) -> list[PolicyRecord]:
        """Every version, the newest first."""
        table = models.policies
        query = select(table).where(table.c.tailnet_id == self._tailnet).order_by(table.c.version.desc())
        rows = (await self._connection.execute(query)).mappings()
        return [PolicyRecord(row["version"], row["text"], row["created"], row["author"]) for row in rows]

    async def add_policy(self, policy: PolicyRecord) -> None:
        names = ("version", "text", "created", "author")
        await self._insert(models.policies, {name: getattr(policy, name) for name in names})

    # Statements

    async def _all(self, table: Table) -> list[Mapping[str, Any]]:
        query = select(table).where(table.c.tailnet_id == self._tailnet).order_by(table.c.id)
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]

    async def _some(self, table: Table, ids: Iterable[int]) -> list[Mapping[str, Any]]:
        wanted, found = sorted(ids), list[Mapping[str, Any]]()
        for start in range(0, len(wanted), MAX_PARAMETERS):
            part = wanted[start : start + MAX_PARAMETERS]
            query = select(table).where(table.c.tailnet_id == self._tailnet, table.c.id.in_(part))
            found += [dict(row) for row in (await self._connection.execute(query)).mappings()]
        return found

    async def _insert(self, table: Table, values: Mapping[str, Any]) -> int:
        result = await self._connection.execute(insert(table).values(tailnet_id=self._tailnet, **values))
        key = result.inserted_primary_key
        assert key is not None
        return int(key[0])

    async def _update(self, table: Table, row_id: int, values: Mapping[str, Any]) -> None:
        where = (table.c.id == row_id) & (table.c.tailnet_id == self._tailnet)
        await self._connection.execute(update(table).where(where).values(**values))

    async def _delete(self, table: Table, row_id: int) -> None:
        where = (table.c.id == row_id) & (table.c.tailnet_id == self._tailnet)
        await self._connection.execute(delete(table).where(where))
