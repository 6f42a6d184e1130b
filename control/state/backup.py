"""A backup of the whole database as one text file, the same for every kind of database.

One JSON object a line: a header (format, form of the database, last ids given), then a row each. Made from one
snapshot, so that the server may run (with SQLite its writers wait); a backup of SQLite can be restored into PostgreSQL
and the other way round.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, LargeBinary, Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from appliance.types.errors import StateError
from control.state.database import known_forms
from control.state.engines import DRIVER_ERRORS, is_shared, refusal
from control.state.models import UtcTime, changes, metadata, tailnets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from control.state.database import Database

FORMAT = "waypost-control-backup"
VERSION = 1
MAX_LINE = 4 << 20
_TABLES = tuple(table for table in metadata.sorted_tables if table is not changes)
"""All but the change log, which concerns running processes only."""


async def dump(database: Database) -> list[str]:
    """The lines of a backup. Raises `StateError`."""
    try:
        async with database.connect() as connection:
            if is_shared(database.url):
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                return await _lines(connection)
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        raise refusal(error, database.url) from error


async def _lines(connection: AsyncConnection) -> list[str]:
    form = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
    last_ids = {table.name: await _last_id(connection, table) for table in _TABLES if "id" in table.c}
    lines = [json.dumps({"format": FORMAT, "version": VERSION, "form": form, "last_ids": last_ids})]
    for table in _TABLES:
        for row in (await connection.execute(select(table).order_by(*table.primary_key))).mappings():
            values = {column.name: _plain(row[column.name]) for column in table.c}
            lines.append(json.dumps({"table": table.name, "row": values}))
    return lines


async def _last_id(connection: AsyncConnection, table: Table) -> int:
    """Ids are never given twice, not even those of deleted rows."""
    if connection.dialect.name == "postgresql":
        query = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:name, 'id')::regclass)")
    else:
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    given = (await connection.execute(query, {"name": table.name})).scalar()
    highest = (await connection.execute(select(func.max(table.c.id)))).scalar()
    return max(int(given or 0), int(highest or 0))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


async def restore(database: Database, lines: Iterable[str]) -> dict[str, int]:
    """Fill an empty database; rows by table. All or nothing. Raises `StateError`."""
    entries = _parsed(lines)
    header = next(entries, {})
    _check_header(header)
    counts: dict[str, int] = {}
    try:
        async with database.connect() as connection, connection.begin():
            if (await connection.execute(select(func.count()).select_from(tailnets))).scalar_one():
                mend = "restore into a new data folder or a new database; nothing is overwritten"
                raise StateError("there is a mesh in this database already", mend=mend)
            for entry in entries:
                table = _table(entry)
                await connection.execute(insert(table).values(_row(table, entry["row"])))
                counts[table.name] = counts.get(table.name, 0) + 1
            for name, last in header["last_ids"].items():
                await _set_last_id(connection, _table({"table": name}), int(last))
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        raise refusal(error, database.url) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(f"a row cannot be read: {error}") from error
    return counts


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line) if len(line) <= MAX_LINE else None
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise _damaged(f"line {number} cannot be read")
        yield entry


def _check_header(header: dict[str, Any]) -> None:
    if header.get("format") != FORMAT or not isinstance(header.get("last_ids"), dict):
        raise StateError("this is no backup of a control server", mend="make one with: waypost-control backup FILE")
    if header.get("version") != VERSION or header.get("form") not in known_forms():
        mend = "restore it with that version, or a later one"
        raise StateError("the backup was made by a newer version", mend=mend)


def _damaged(what: str) -> StateError:
    return StateError(f"the backup is damaged: {what}", mend="take another one")


def _table(entry: dict[str, Any]) -> Table:
    for table in _TABLES:
        if table.name == entry.get("table"):
            return table
    raise _damaged(f"it names a table that does not exist: {str(entry.get('table'))[:40]!r}")


def _row(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(table.c[name], value) for name, value in row.items()}


def _value(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, UtcTime):
        return datetime.fromisoformat(value)
    return base64.b64decode(value, validate=True) if isinstance(column.type, LargeBinary) else value


async def _set_last_id(connection: AsyncConnection, table: Table, last: int) -> None:
    if last <= 0:
        return
    if connection.dialect.name == "postgresql":
        await connection.execute(
            text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)"), {"name": table.name, "last": last}
        )
        return
    await connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
    await connection.execute(
        text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), {"name": table.name, "last": last}
    )
