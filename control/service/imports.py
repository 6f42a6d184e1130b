"""Takes over the mesh of a Headscale server: its clients keep keys and addresses and need no new login.

What cannot be taken is reported, with the reason; nothing is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Any

from appliance.proto.control.messages import Hostinfo, decode
from appliance.types.addresses import parse_addr_port
from appliance.types.errors import DecodeError
from appliance.types.ids import NodeId, RegionId, StableNodeId, UserId
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
from control.policy.document import parse_policy
from control.policy.problems import PolicyError
from control.policy.selectors import TAG
from control.service.actor import Permission
from control.service.errors import ConflictError
from control.service.keys import imported_key
from control.service.names import label_from, unique_label
from control.state.records import NodeRecord, PolicyRecord, PreAuthKeyId, PreAuthKeyRecord, Role, UserRecord
from control.state.rows import advertised_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.draft import Draft
    from control.service.headscale import HeadscaleTables, Row

NOBODY = '{"acls": []}'
"""In force where the policy cannot be understood: rather closed than open."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


@dataclass(slots=True)
class ImportReport:
    """`taken`: counts by kind. `not_taken`, `changed`: (what, why or how)."""

    taken: dict[str, int] = field(default_factory=dict)
    not_taken: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)

    def count(self, kind: str) -> None:
        self.taken[kind] = self.taken.get(kind, 0) + 1


class ImportOperations:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def headscale(self, actor: Actor, tables: HeadscaleTables) -> ImportReport:
        """All in one transaction, into a server without users and nodes. Raises `ConflictError`."""
        for permission in (Permission.USERS, Permission.NODES, Permission.KEYS, Permission.ROUTES, Permission.POLICY):
            actor.require(permission)
        async with self._core.change(actor) as draft:
            if self._core.model.users or self._core.model.nodes:
                mend = "import into a new --data-dir or a new --database"
                raise ConflictError("this server has users or nodes already", mend=mend)
            report = await _Import(self._core, draft, tables).run()
            await draft.audit("import.headscale", "tailnet", after=report.taken)
        return report


class _Import:
    """One import under way. Ids of Headscale's rows are the keys of the maps."""

    def __init__(self, core: Core, draft: Draft, tables: HeadscaleTables) -> None:
        self._core = core
        self._draft = draft
        self._tables = tables
        self._report = ImportReport()
        self._users: dict[int, UserId] = {}
        self._keys: dict[int, PreAuthKeyId] = {}
        self._names: set[str] = set()
        self._given: set[object] = set()

    async def run(self) -> ImportReport:
        for row in self._tables.users:
            await self._user(row)
        for row in self._tables.pre_auth_keys:
            await self._key(row)
        for row in sorted(self._tables.nodes, key=_lacks_address):
            await self._node(row)
        await self._policy()
        for row in self._tables.api_keys:
            self._report.not_taken.append((f"API key {row.get('prefix')}", "only its hash is stored; make a new one"))
        return self._report

    async def _user(self, row: Row) -> None:
        given = str(row.get("name") or row.get("email") or f"user{row['id']}")
        email = str(row.get("email") or (given if "@" in given else ""))
        bare = _NOT_IN_NAMES.sub("-", given.partition("@")[0].lower()).strip("._-")[:50] or f"user{row['id']}"
        name = unique_label(bare, lambda label: label in self._names)
        self._names.add(name)
        if name != given:
            self._report.changed.append((f"user {given}", f"is called {name} now"))
        user = UserRecord(
            UserId(0), name, _time(row.get("created_at")) or self._draft.now, email[:254],
            str(row.get("display_name") or "")[:255], Role.MEMBER,
        )  # fmt: skip
        values = {"name": user.name, "email": user.email, "display_name": user.display_name, "role": user.role.value}
        user_id = await self._draft.tx.add_user({**values, "created": user.created})
        self._users[row["id"]] = user_id
        self._draft.users[user_id] = UserRecord(
            user_id, user.name, user.created, user.email, user.display_name, user.role
        )
        self._report.count("users")
        if row.get("provider_identifier"):
            why = "its sign-in provider; link it when the user signs in again"
            self._report.not_taken.append((f"identity of user {name}", why))

    async def _key(self, row: Row) -> None:
        text, shown = str(row.get("key") or ""), f"pre-auth key {row['id']}"
        expiry = _time(row.get("expiration"))
        if expiry is not None and expiry <= self._draft.now:
            self._report.not_taken.append((shown, "it has expired"))
            return
        if row.get("used") and not row.get("reusable"):
            self._report.not_taken.append((shown, "it has been used"))
            return
        if not text:
            why = "only a bcrypt hash is stored; make a new one: waypost-control preauthkeys create"
            self._report.not_taken.append((shown, why))
            return
        tags = _tags(row.get("tags"))
        owner = self._users.get(row.get("user_id") or 0)
        if owner is None and not tags:
            self._report.not_taken.append((shown, "it belongs to nobody"))
            return
        prefix, secret_hash = imported_key(text)
        key = PreAuthKeyRecord(
            PreAuthKeyId(0), prefix, owner, tags, bool(row.get("reusable")), bool(row.get("ephemeral")),
            _time(row.get("created_at")) or self._draft.now, expiry, description="imported",
        )  # fmt: skip
        self._keys[row["id"]] = await self._draft.tx.add_key(key, secret_hash)
        self._report.count("pre-auth keys")

    async def _node(self, row: Row) -> None:
        shown = f"node {row.get('given_name') or row.get('hostname') or row['id']}"
        try:
            node = await self._record(row)
        except (DecodeError, ValueError, TypeError, KeyError) as error:
            self._report.not_taken.append((shown, f"its row cannot be read: {error}"))
            return
        if node.user_id is None and not node.tags:
            self._report.not_taken.append((shown, "it belongs to no user and has no tags"))
            return
        unique = {node.node_key, node.ipv4, node.ipv6, node.stable_id}
        if unique & self._given:
            self._report.not_taken.append((shown, "another node has its key or address"))
            return
        self._given |= unique
        if node.given_name != row.get("given_name"):
            self._report.changed.append((shown, f"is called {node.given_name} now"))
        await self._draft.add_node(node)
        self._report.count("nodes")
        if node.approved_routes:
            self._report.count("nodes with approved routes")

    async def _record(self, row: Row) -> NodeRecord:
        """The stable id stays: clients name their exit node by it."""
        hostinfo = _hostinfo(row.get("host_info"))
        tags = _tags(row.get("tags")) or _tags(row.get("forced_tags"))
        region = hostinfo.net_info.preferred_derp if hostinfo is not None and hostinfo.net_info is not None else 0
        label = label_from(str(row.get("given_name") or row.get("hostname") or "node"))
        name = unique_label(label, lambda taken: taken in self._given)
        key_row = next((key for key in self._tables.pre_auth_keys if key["id"] == row.get("auth_key_id")), {})
        node = NodeRecord(
            id=NodeId(0),
            stable_id=StableNodeId(str(int(row["id"]))),
            user_id=None if tags else self._users.get(row.get("user_id") or 0),
            machine_key=MachinePublicKey.parse(row["machine_key"]),
            node_key=NodePublicKey.parse(row["node_key"]),
            disco_key=DiscoPublicKey.parse(row["disco_key"]) if row.get("disco_key") else None,
            given_name=name,
            renamed=name != label_from(str(row.get("hostname") or "")),
            hostname=str(row.get("hostname") or "")[:255],
            hostinfo=hostinfo,
            ipv4=IPv4Address(row["ipv4"]) if row.get("ipv4") else await self._draft.tx.give_ipv4(self._core.draw()),
            ipv6=IPv6Address(row["ipv6"]) if row.get("ipv6") else await self._draft.tx.give_ipv6(self._core.draw()),
            endpoints=tuple(parse_addr_port(text) for text in _listed(row.get("endpoints"))[:64]),
            endpoint_types=(),
            tags=tags,
            advertised_routes=advertised_routes(hostinfo),
            approved_routes=tuple(ip_network(text) for text in self._approved(row)),
            key_expiry=_time(row.get("expiry")),
            ephemeral=bool(key_row.get("ephemeral")),
            created=_time(row.get("created_at")) or self._draft.now,
            last_seen=_time(row.get("last_seen")),
            home_derp=RegionId(region if 0 < region < 2**31 else 0),
            pre_auth_key_id=self._keys.get(row.get("auth_key_id") or 0),
        )
        self._given.add(name)
        return node

    def _approved(self, row: Row) -> list[str]:
        old = [r["prefix"] for r in self._tables.routes if r.get("node_id") == row["id"] and r.get("enabled")]
        return sorted({*_listed(row.get("approved_routes")), *old})

    async def _policy(self) -> None:
        rows = [row for row in self._tables.policies if row.get("data")]
        if not rows:
            why = "the database holds none; if Headscale read a file: waypost-control policy set FILE"
            self._report.not_taken.append(("policy", why))
            return
        text = str(rows[-1]["data"])
        try:
            policy = parse_policy(text)
        except PolicyError as error:
            why = f"{error.line()}; nobody reaches anybody until you mend it and: waypost-control policy set FILE"
            self._report.not_taken.append(("policy", why))
            text = NOBODY
            policy = parse_policy(text)
        else:
            self._report.count("policy")
        record = PolicyRecord(1, text, self._draft.now, self._draft.actor.name)
        await self._draft.tx.add_policy(record)
        self._draft.policy = (record, policy)


def _lacks_address(row: Row) -> bool:
    """Those come last, so that none is given what another one has."""
    return not (row.get("ipv4") and row.get("ipv6"))


def _listed(value: Any) -> list[str]:
    """A JSON list of texts; nothing for NULL."""
    found = json.loads(value) if value else []
    return [str(item) for item in found] if isinstance(found, list) else []


def _tags(value: Any) -> tuple[str, ...]:
    try:
        found: Iterable[str] = _listed(value)
    except (ValueError, RecursionError):
        return ()
    return tuple(sorted({tag for tag in found if TAG.fullmatch(tag)}))


def _hostinfo(value: Any) -> Hostinfo | None:
    """What does not read is told anew by the client when it connects."""
    try:
        return decode(Hostinfo, str(value).encode()) if value else None
    except DecodeError:
        return None


def _time(value: Any) -> datetime | None:
    """Go's text form of a time; None for NULL and for its zero time."""
    match = re.match(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*\s*(Z|[+-]\d\d:?\d\d)?", str(value or ""))
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}{fraction or ''}{(zone or '+00:00').replace('Z', '+00:00')}")
    return None if moment.year <= 1 else moment.astimezone(UTC)
