"""The database: migrations, and transactions.

SQLite in WAL mode with synchronous=FULL: what was committed survives a power cut; one writer at a time. PostgreSQL by
its URL, with the durability that its own settings say.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from appliance.types.errors import StateError
from control.state.engines import DRIVER_ERRORS, is_shared, make_engine, place, reason, refusal, sqlite_url
from control.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from control.state.records import TailnetId

__all__ = ["Database", "open_database", "sqlite_url"]

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x776179706F7374
"""Key of PostgreSQL's advisory lock: of processes that start together one migrates, the others wait."""


class Database:
    """An open database of the current form; make it with `open_database`. `shared`: other processes may write too."""

    def __init__(self, engine: AsyncEngine, url: URL) -> None:
        self._engine = engine
        self.url = url
        self.shared = is_shared(url)
        self._writer: AbstractAsyncContextManager[Any] = contextlib.nullcontext() if self.shared else asyncio.Lock()

    @asynccontextmanager
    async def begin(self, tailnet_id: TailnetId) -> AsyncIterator[Transaction]:
        """One transaction: committed when the block ends, rolled back when it raises. Raises `StateError`."""
        async with self._writer:
            try:
                async with self._engine.begin() as connection:
                    yield Transaction(connection, tailnet_id)
            except (SQLAlchemyError, *DRIVER_ERRORS) as error:
                raise refusal(error, self.url) from error

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A bare connection, for what concerns the database as a whole."""
        async with self._engine.connect() as connection:
            yield connection

    async def close(self) -> None:
        await self._engine.dispose()


async def open_database(url: URL) -> Database:
    """Open and bring to the current form. Raises `StateError`."""
    engine = make_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        await engine.dispose()
        mend = "see that the folder exists, is writable, and that the file is a database of this server"
        if is_shared(url):
            mend = "see that it runs, that the database exists, and that the user may log in and make tables"
        raise StateError(f"cannot open the database {place(url)}: {reason(error)}", mend=mend) from error
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine, url)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = _config()
    config.attributes["connection"] = connection
    current = _current_revision(connection)
    if current is not None and current not in known_forms():
        mend = "start the newer version again, or restore a backup made by this one"
        raise StateError(f"the database has form {current}, which a newer version wrote", mend=mend)
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def known_forms() -> frozenset[str]:
    """Forms of the database that this version can read, the current one included."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
