"""What tests of several folders share: databases (SQLite, PostgreSQL) and the packet step's two forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.postgres import Postgres, running_postgres
from tests.packet_steps import bulk, step

__all__ = ["bulk", "step"]

SERVER_START_S = 60
"""A busy machine takes its time to make a PostgreSQL; the first test of a process waits for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        named = {"postgres", "database_text"} & set(getattr(item, "fixturenames", ()))
        if named and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SERVER_START_S))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server per test process, started when the first test asks."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_database(postgres: Postgres) -> str:
    return postgres.create()


@pytest.fixture
def postgres_url(postgres: Postgres, _postgres_database: str) -> Iterator[str]:
    """An empty database of the current form."""
    yield _postgres_database
    postgres.empty(_postgres_database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a fresh database, as a user would write it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'control.db'}"
    return str(request.getfixturevalue("postgres_url"))
