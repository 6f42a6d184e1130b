"""Reading a Headscale database; what becomes of it is in test_imports.py."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from control.service.headscale import read_headscale

SAMPLE = Path(__file__).parents[3] / "samples" / "headscale.sql"


def test_ok__live_rows_only(tmp_path):
    path = tmp_path / "a name with spaces & 100%.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SAMPLE.read_text())
    tables = read_headscale(path)
    assert [row["name"] for row in tables.users] == ["alice", "Bob@example.org"]
    assert [row["id"] for row in tables.nodes] == [4, 5, 7, 8]
    assert tables.routes == ()
