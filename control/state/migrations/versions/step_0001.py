"""The first form: tailnets, users, nodes, pre-auth keys, policies, audit entries, address counters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _tailnet() -> sa.Column[int]:
    return sa.Column("tailnet_id", sa.Integer(), sa.ForeignKey("tailnets.id"), nullable=False)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Create the tables."""
    _people()
    _pre_auth_keys()
    _nodes()
    _records()


def _people() -> None:
    op.create_table(
        "tailnets",
        _id(),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("name", name="uq_tailnets_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        _id(),
        _tailnet(),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("tailnet_id", "name", name="uq_users_tailnet_id_name"),
        sqlite_autoincrement=True,
    )


def _pre_auth_keys() -> None:
    op.create_table(
        "pre_auth_keys",
        _id(),
        _tailnet(),
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id")),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("reusable", sa.Boolean(), nullable=False),
        sa.Column("ephemeral", sa.Boolean(), nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("expiry", sa.DateTime()),
        sa.Column("used", sa.DateTime()),
        sa.Column("revoked", sa.DateTime()),
        sa.UniqueConstraint("prefix", name="uq_pre_auth_keys_prefix"),
        sqlite_autoincrement=True,
    )


def _nodes() -> None:
    op.create_table(
        "nodes",
        _id(),
        _tailnet(),
        sa.Column("stable_id", sa.String(32), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id")),
        sa.Column("machine_key", sa.String(80), nullable=False),
        sa.Column("node_key", sa.String(80), nullable=False),
        sa.Column("disco_key", sa.String(80)),
        sa.Column("given_name", sa.String(63), nullable=False),
        sa.Column("renamed", sa.Boolean(), nullable=False),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("hostinfo", sa.Text()),
        sa.Column("ipv4", sa.String(15), nullable=False),
        sa.Column("ipv6", sa.String(39), nullable=False),
        sa.Column("endpoints", sa.Text(), nullable=False),
        sa.Column("endpoint_types", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("approved_routes", sa.Text(), nullable=False),
        sa.Column("key_expiry", sa.DateTime()),
        sa.Column("ephemeral", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("last_seen", sa.DateTime()),
        sa.Column("capability_version", sa.Integer(), nullable=False),
        sa.Column("home_derp", sa.Integer(), nullable=False),
        sa.Column("pre_auth_key_id", sa.Integer(), sa.ForeignKey("pre_auth_keys.id")),
        sa.UniqueConstraint("stable_id", name="uq_nodes_stable_id"),
        sa.UniqueConstraint("node_key", name="uq_nodes_node_key"),
        sa.UniqueConstraint("tailnet_id", "given_name", name="uq_nodes_tailnet_id_given_name"),
        sa.UniqueConstraint("tailnet_id", "ipv4", name="uq_nodes_tailnet_id_ipv4"),
        sa.UniqueConstraint("tailnet_id", "ipv6", name="uq_nodes_tailnet_id_ipv6"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_nodes_tailnet_id_machine_key", "nodes", ["tailnet_id", "machine_key"])


def _records() -> None:
    op.create_table(
        "policies",
        _id(),
        _tailnet(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("tailnet_id", "version", name="uq_policies_tailnet_id_version"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_entries",
        _id(),
        _tailnet(),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entries_tailnet_id_time", "audit_entries", ["tailnet_id", "time"])
    op.create_table(
        "address_counters",
        sa.Column("tailnet_id", sa.Integer(), sa.ForeignKey("tailnets.id"), primary_key=True),
        sa.Column("family", sa.Integer(), primary_key=True),
        sa.Column("last_given", sa.String(39), nullable=False),
    )
