"""Who serves each subnet, so that a restart moves none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "primaries",
        sa.Column("tailnet_id", sa.Integer(), sa.ForeignKey("tailnets.id"), primary_key=True),
        sa.Column("route", sa.String(43), primary_key=True),
        sa.Column("node_id", sa.Integer(), nullable=False),
    )
