"""The change log, by which several processes on one database follow each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count revisions of the tailnet and say what each one touched."""
    op.add_column("tailnets", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "changes",
        sa.Column("tailnet_id", sa.Integer(), sa.ForeignKey("tailnets.id"), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("node_ids", sa.Text(), nullable=False),
        sa.Column("user_ids", sa.Text(), nullable=False),
        sa.Column("policy", sa.Boolean(), nullable=False),
    )
