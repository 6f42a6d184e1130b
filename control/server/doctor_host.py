"""Doctor's look at the database. Reading only."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from appliance.types.errors import StateError
from control.service.archive import DATABASE_FILE
from control.state.engines import DRIVER_ERRORS, database_url, is_shared, make_engine, place, reason, sqlite_url

if TYPE_CHECKING:
    from sqlalchemy import URL


async def check_database(data_dir: Path, database: str) -> str:
    """What is right about the database, for people. Raises `StateError` for what is not."""
    url = database_url(database) if database else sqlite_url(data_dir / DATABASE_FILE)
    if is_shared(url):
        await _ask_postgres(url)
        return f"{place(url)} answers"
    return await asyncio.to_thread(_look_at_file, Path(url.database or ""))


async def _ask_postgres(url: URL) -> None:
    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        mend = "see that it runs and that the user may log in"
        raise StateError(f"{place(url)} does not answer: {reason(error)}", mend=mend) from error
    finally:
        await engine.dispose()


def _look_at_file(file: Path) -> str:
    if not file.exists():
        raise StateError(f"there is no database {file} yet", mend="start the server once, or check server.data_dir")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        mend = "run doctor as root or the server's user; a damaged file needs a backup"
        raise StateError(f"{file} cannot be read: {error}", mend=mend) from error
    if verdict != "ok":
        raise StateError(f"{file} is damaged: {verdict}", mend="stop the server and restore a backup")
    return f"{file} is sound, {file.stat().st_size >> 10} KiB"
