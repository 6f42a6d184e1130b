"""Reads the SQLite database of a Headscale server (0.2x): rows as they are, checked where they are used.

Columns that a version does not have yet, or any more, are simply absent.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from appliance.types.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]
MAX_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class HeadscaleTables:
    """Live rows by id; `routes` only in old versions, which keep approvals there."""

    users: tuple[Row, ...]
    nodes: tuple[Row, ...]
    pre_auth_keys: tuple[Row, ...]
    api_keys: tuple[Row, ...]
    policies: tuple[Row, ...]
    routes: tuple[Row, ...]


def read_headscale(file: Path) -> HeadscaleTables:
    """Only reads. Raises `StateError` for a file that is no such database."""
    if not file.exists():
        raise StateError(f"there is no {file}", mend="name the file of db.sqlite.path in Headscale's settings")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"users", "nodes", "pre_auth_keys"} <= tables:
                mend = "name its SQLite file; versions before 0.23 must be brought up to date first"
                raise StateError(f"{file} is no Headscale database", mend=mend)
            names = ("users", "nodes", "pre_auth_keys", "api_keys", "policies", "routes")
            return HeadscaleTables(*(_rows(connection, name) if name in tables else () for name in names))
    except sqlite3.Error as error:
        mend = "stop Headscale and name its SQLite file"
        raise StateError(f"cannot read {file} as a Headscale database: {error}", mend=mend) from error


def _rows(connection: sqlite3.Connection, table: str) -> tuple[Row, ...]:
    """Those that are not marked as deleted. `table` is one of ours."""
    found = connection.execute(f"SELECT * FROM {table} ORDER BY id LIMIT {MAX_ROWS}")  # noqa: S608  # a fixed name
    rows = (dict(zip(row.keys(), tuple(row), strict=True)) for row in found)
    return tuple(row for row in rows if row.get("deleted_at") is None)
