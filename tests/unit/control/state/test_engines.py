"""Database URLs and what errors mean."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import OperationalError

from appliance.types.errors import ConfigError, StateError
from control.state.engines import DatabaseAwayError, database_url, is_shared, place, refusal


def test_ok__urls():
    shared = database_url("postgresql://w:secret@db.example:5433/mesh?sslmode=require")
    assert is_shared(shared)
    assert "secret" not in place(shared)
    assert not is_shared(database_url("sqlite:////var/lib/c.db"))
    assert place(database_url("sqlite:////var/lib/c.db")) == "/var/lib/c.db"


@pytest.mark.parametrize("text", ["", "mysql://db/mesh", "postgresql://db", "/var/lib/c.db", "postgresql://db:x/m"])
def test_fail__no_url(text):
    with pytest.raises(ConfigError, match="URL"):
        database_url(text)


def test_ok__away_or_refused():
    url = database_url("postgresql://db/mesh")
    for error in (ConnectionRefusedError(), TimeoutError(), asyncpg.CannotConnectNowError("starting up")):
        assert isinstance(refusal(error, url), DatabaseAwayError), error
    for error in (asyncpg.UniqueViolationError("twice"), OperationalError("x", {}, Exception("disk"))):
        refused = refusal(error, url)
        assert type(refused) is StateError
    assert type(refusal(ConnectionRefusedError(), database_url("sqlite:////c.db"))) is StateError
