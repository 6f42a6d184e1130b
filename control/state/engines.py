"""SQLite and PostgreSQL: their URLs, their engines, and what their errors mean. Nothing above knows which one it is."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships without types
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from appliance.types.errors import ConfigError, StateError

CONNECT_S = 5.0
COMMAND_S = 10.0
"""A PostgreSQL that is silent for so long is taken for away."""
POOL_SIZE = 5
_AWAY_STATES = ("08", "53", "57P")
"""SQLSTATE classes: connection lost, out of resources, shutting down or starting."""

DRIVER_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What asyncpg raises while it connects; SQLAlchemy hands these on as they are."""


class DatabaseAwayError(StateError):
    """The database does not answer: nothing was changed, or the connection broke before it said so."""

    code = "database-away"
    status = 503


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(path))


def database_url(text: str) -> URL:
    """`postgresql://user@host/name` or `sqlite:////path`. Raises `ConfigError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = URL.create("none")
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres") and url.database:
        return url.set(drivername="postgresql+asyncpg")
    if kind == "sqlite" and url.database:
        return sqlite_url(Path(url.database))
    mend = "write postgresql://user@host/name, or sqlite:////path/to/file"
    raise ConfigError("the database is not given as a URL that this server knows", mend=mend)


def place(url: URL) -> str:
    """The URL for people: no password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def is_shared(url: URL) -> bool:
    """Whether several control processes may use this database."""
    return url.get_backend_name() == "postgresql"


def driver_address(url: URL) -> str:
    """What asyncpg connects to; it adds PGPASSWORD, the password file and TLS settings itself."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def make_engine(url: URL) -> AsyncEngine:
    """An engine that has not connected yet."""
    if is_shared(url):
        return _postgres_engine(url)
    engine = create_async_engine(url)
    _make_private(Path(url.database or ""))
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _postgres_engine(url: URL) -> AsyncEngine:
    async def connect() -> Any:
        return await asyncpg.connect(driver_address(url), timeout=CONNECT_S, command_timeout=COMMAND_S)

    return create_async_engine(url, async_creator=connect, pool_pre_ping=True, pool_size=POOL_SIZE, max_overflow=0)


def _make_private(path: Path) -> None:
    """Only the owner reads the database, whatever the umask; its journals take the mode over."""
    with contextlib.suppress(OSError):  # what is wrong with the place is said when it is opened
        path.touch(mode=0o600)


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, so that DDL is inside them too
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def reason(error: Exception) -> str:
    """What the database said, on one line."""
    said = error.orig if isinstance(error, DBAPIError) else error
    text = str(said).partition("\n")[0] or type(said).__name__
    return text.removeprefix("<class ").partition(">: ")[2] or text


def is_away(error: Exception) -> bool:
    """Whether the database is out of reach, as against refusing this one thing."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state.startswith(_AWAY_STATES)
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_AWAY_STATES)
    return not isinstance(error, SQLAlchemyError)


def refusal(error: Exception, url: URL) -> StateError:
    """The error for people."""
    if is_shared(url) and is_away(error):
        mend = "nothing is lost; try again when it is back"
        return DatabaseAwayError(f"the database does not answer: {reason(error)}", mend=mend)
    mend = "see that its disk is not full and not read-only"
    return StateError(f"the database refused: {reason(error)}", mend=mend)
