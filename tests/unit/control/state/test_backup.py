"""What a backup holds; the round trip is in tests/unit/control/service/test_archive.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from control.state.backup import dump
from control.state.database import open_database
from control.state.engines import database_url
from control.state.records import DEFAULT_TAILNET


async def test_ok__a_header_and_a_row_a_line(database_text):
    database = await open_database(database_url(database_text))
    async with database.begin(DEFAULT_TAILNET) as tx:
        await tx.ensure_tailnet("net.example", datetime(2026, 1, 1, tzinfo=UTC))
        user = await tx.add_user({"name": "alice", "role": "member", "created": datetime(2026, 1, 1, tzinfo=UTC)})
        await tx.remove_user(user)
    header, *rows = [json.loads(line) for line in await dump(database)]
    assert header["last_ids"]["users"] == user
    assert [row["table"] for row in rows] == ["tailnets"]
    assert rows[0]["row"]["created"] == "2026-01-01T00:00:00+00:00"
    await database.close()
