"""Tables of the control database. Every row belongs to a tailnet; numeric ids are never used again.

Lists are JSON texts, keys and addresses their text forms, times UTC. `control.state.rows` turns rows into records.
A change here needs a migration in `migrations/versions`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine.interfaces import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC moment; stored without zone, since not every database keeps one."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def _tailnet() -> Column[int]:
    return Column("tailnet_id", Integer, ForeignKey("tailnets.id"), nullable=False)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


tailnets = Table(
    "tailnets",
    metadata,
    _id(),
    Column("name", String(253), nullable=False, unique=True),
    Column("created", UtcTime, nullable=False),
    Column("revision", Integer, nullable=False, default=0, server_default="0"),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("tailnet_id", Integer, ForeignKey("tailnets.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("node_ids", Text, nullable=False),
    Column("user_ids", Text, nullable=False),
    Column("policy", Boolean, nullable=False),
)

users = Table(
    "users",
    metadata,
    _id(),
    _tailnet(),
    Column("name", String(63), nullable=False),
    Column("email", String(254), nullable=False, default=""),
    Column("display_name", String(255), nullable=False, default=""),
    Column("role", String(32), nullable=False),
    Column("created", UtcTime, nullable=False),
    UniqueConstraint("tailnet_id", "name"),
    sqlite_autoincrement=True,
)

pre_auth_keys = Table(
    "pre_auth_keys",
    metadata,
    _id(),
    _tailnet(),
    Column("prefix", String(32), nullable=False, unique=True),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("user_id", Integer, ForeignKey("users.id")),
    Column("tags", Text, nullable=False, default="[]"),
    Column("reusable", Boolean, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
    Column("description", String(255), nullable=False, default=""),
    Column("created", UtcTime, nullable=False),
    Column("expiry", UtcTime),
    Column("used", UtcTime),
    Column("revoked", UtcTime),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _tailnet(),
    Column("prefix", String(32), nullable=False, unique=True),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("description", String(255), nullable=False, default=""),
    Column("author", String(255), nullable=False),
    Column("user_id", Integer, ForeignKey("users.id")),
    Column("created", UtcTime, nullable=False),
    Column("expiry", UtcTime),
    Column("revoked", UtcTime),
    sqlite_autoincrement=True,
)

nodes = Table(
    "nodes",
    metadata,
    _id(),
    _tailnet(),
    Column("stable_id", String(32), nullable=False, unique=True),
    Column("user_id", Integer, ForeignKey("users.id")),
    Column("machine_key", String(80), nullable=False),
    Column("node_key", String(80), nullable=False, unique=True),
    Column("disco_key", String(80)),
    Column("given_name", String(63), nullable=False),
    Column("renamed", Boolean, nullable=False, default=False),
    Column("hostname", String(255), nullable=False, default=""),
    Column("hostinfo", Text),
    Column("ipv4", String(15), nullable=False),
    Column("ipv6", String(39), nullable=False),
    Column("endpoints", Text, nullable=False, default="[]"),
    Column("endpoint_types", Text, nullable=False, default="[]"),
    Column("tags", Text, nullable=False, default="[]"),
    Column("approved_routes", Text, nullable=False, default="[]"),
    Column("key_expiry", UtcTime),
    Column("ephemeral", Boolean, nullable=False, default=False),
    Column("created", UtcTime, nullable=False),
    Column("last_seen", UtcTime),
    Column("capability_version", Integer, nullable=False, default=0),
    Column("home_derp", Integer, nullable=False, default=0),
    Column("pre_auth_key_id", Integer, ForeignKey("pre_auth_keys.id")),
    Column("custom_attributes", Text, nullable=False, default="[]", server_default="[]"),
    UniqueConstraint("tailnet_id", "given_name"),
    UniqueConstraint("tailnet_id", "ipv4"),
    UniqueConstraint("tailnet_id", "ipv6"),
    Index(None, "tailnet_id", "machine_key"),
    sqlite_autoincrement=True,
)

policies = Table(
    "policies",
    metadata,
    _id(),
    _tailnet(),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("author", String(255), nullable=False),
    Column("created", UtcTime, nullable=False),
    UniqueConstraint("tailnet_id", "version"),
    sqlite_autoincrement=True,
)

audit_entries = Table(
    "audit_entries",
    metadata,
    _id(),
    _tailnet(),
    Column("time", UtcTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("before", Text, nullable=False, default=""),
    Column("after", Text, nullable=False, default=""),
    Index(None, "tailnet_id", "time"),
    sqlite_autoincrement=True,
)

address_counters = Table(
    "address_counters",
    metadata,
    Column("tailnet_id", Integer, ForeignKey("tailnets.id"), primary_key=True),
    Column("family", Integer, primary_key=True),
    Column("last_given", String(39), nullable=False),
)

pool_counters = Table(
    "pool_counters",
    metadata,
    Column("tailnet_id", Integer, ForeignKey("tailnets.id"), primary_key=True),
    Column("pool", String(43), primary_key=True),
    Column("last_given", String(39), nullable=False),
)

primaries = Table(
    "primaries",
    metadata,
    Column("tailnet_id", Integer, ForeignKey("tailnets.id"), primary_key=True),
    Column("route", String(43), primary_key=True),
    Column("node_id", Integer, nullable=False),
)
"""Who served each subnet when it was last written; a node that is gone may still stand here."""
