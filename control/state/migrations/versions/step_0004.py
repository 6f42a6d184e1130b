"""Posture attributes of nodes, address pools of the policy, API keys of users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new; nothing that is there changes."""
    op.add_column("nodes", sa.Column("custom_attributes", sa.Text(), nullable=False, server_default="[]"))
    # In words, since neither database needs the table copied for it, and a copy would lose what keeps ids unique.
    op.execute("ALTER TABLE api_keys ADD COLUMN user_id INTEGER CONSTRAINT fk_api_keys_user_id REFERENCES users (id)")
    op.create_table(
        "pool_counters",
        sa.Column("tailnet_id", sa.Integer(), sa.ForeignKey("tailnets.id"), primary_key=True),
        sa.Column("pool", sa.String(43), primary_key=True),
        sa.Column("last_given", sa.String(39), nullable=False),
    )
