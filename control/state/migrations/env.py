"""Run by alembic: applies the steps on the connection that `control.state.database` hands over."""

from __future__ import annotations

from alembic import context

from control.state.models import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transaction_per_migration=False
)
with context.begin_transaction():
    context.run_migrations()
