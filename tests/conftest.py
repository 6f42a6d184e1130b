"""What tests of several folders share: databases (SQLite, PostgreSQL) and the packet step's two forms."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.lab.postgres import Postgres, SharedPostgres
from tests.packet_steps import bulk, step

__all__ = ["bulk", "step"]

DATABASE_TEST_S = 60
"""A busy machine takes its time for what needs several processes."""
settings.register_profile("suite", deadline=None)  # the same for every example of a property
settings.load_profile("suite")
SHARED_POSTGRES = pytest.StashKey[SharedPostgres]()


def needs_postgres(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    on_sqlite = callspec is not None and callspec.params.get("database_text") == "sqlite"
    return "postgres" in names or ("database_text" in names and not on_sqlite)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SHARED_POSTGRES] = SharedPostgres()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SHARED_POSTGRES].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        named = {"postgres", "database_text"} & set(getattr(item, "fixturenames", ()))
        if named and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DATABASE_TEST_S))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Make the server before the first test's own limit begins: cut short, it would fail all tests of the process."""
    if needs_postgres(item):
        item.config.stash[SHARED_POSTGRES].prepare()
    return (yield)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """One server per test process, started when the first test asks."""
    return request.config.stash[SHARED_POSTGRES].server()


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
