"""The database: engine, pragmas, migrations, and transactions with one writer at a time.

SQLite in WAL mode with synchronous=FULL: what was committed survives a power cut. The URL decides; nothing above this
module knows which database it is.
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
from sqlalchemy import URL, Connection, event, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from appliance.types.errors import StateError
from control.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from control.state.records import TailnetId

_MIGRATIONS = Path(__file__).parent / "migrations"


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(path))


class Database:
    """An open database of the current form; make it with `open_database`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def begin(self, tailnet_id: TailnetId) -> AsyncIterator[Transaction]:
        """One transaction: committed when the block ends, rolled back when it raises. Raises `StateError`."""
        async with self._writer:
            try:
                async with self._engine.begin() as connection:
                    yield Transaction(connection, tailnet_id)
            except DBAPIError as error:
                mend = "see that its disk is not full and not read-only"
                raise StateError(f"the database refused: {error.orig}", mend=mend) from error

    async def close(self) -> None:
        await self._engine.dispose()


async def open_database(url: URL) -> Database:
    """Open and bring to the current form. Raises `StateError`."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        _make_private(Path(url.database or ""))
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
    except SQLAlchemyError as error:
        await engine.dispose()
        place = url.database or str(url)
        mend = "see that the folder exists, is writable, and that the file is a database of this server"
        raise StateError(f"cannot open the database {place}: {_reason(error)}", mend=mend) from error
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine)


def _make_private(path: Path) -> None:
    """Only the owner reads the database, whatever the umask; its journals take the mode over."""
    with contextlib.suppress(OSError):  # what is wrong with the place is said when it is opened
        path.touch(mode=0o600)


def _reason(error: SQLAlchemyError) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, so that DDL is inside them too
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = _current_revision(connection)
    if current is not None and current not in known:
        mend = "start the newer version again, or restore a backup made by this one"
        raise StateError(f"the database has form {current}, which a newer version wrote", mend=mend)
    command.upgrade(config, "head")


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
