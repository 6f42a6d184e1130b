"""What a boot loads: kept as it is wanted, loaded also when the settings are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.config.schema import Config
from appliance.daemon import boot_guard
from appliance.daemon.boot_guard import DOCUMENT, keep_guard, restore_guard
from appliance.daemon.main import waypostd
from appliance.ports.store import MemoryStore
from appliance.state.files import FileStore
from appliance.types.errors import StateError

TABLE = "add table inet waypost_guard\n"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was given to nft."""
    documents: list[str] = []
    monkeypatch.setattr(boot_guard, "apply_now", documents.append)
    return documents


def settings(folder: Path) -> Config:
    daemon = replace(Config().daemon, state_dir=str(folder / "state"), socket=str(folder / "socket"))
    return replace(Config(), daemon=daemon)


def test_ok__written_when_it_differs_and_forgotten() -> None:
    store = MemoryStore()
    for document in (TABLE, TABLE, TABLE + "#", ""):
        keep_guard(store, document)
    assert store.writes == [DOCUMENT] * 2
    assert store.documents == {}


def test_ok__a_disk_that_refuses_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StateError("disk full")

    store = MemoryStore()
    monkeypatch.setattr(store, "write", full)
    keep_guard(store, TABLE)
    assert store.documents == {}


def test_ok__loaded_where_an_exit_is_wanted(tmp_path: Path, loaded: list[str]) -> None:
    config = settings(tmp_path)
    restore_guard(config)
    assert loaded == []
    keep_guard(FileStore(config.daemon.state_dir), TABLE)
    restore_guard(config)
    assert loaded == [TABLE]


def test_ok__wrong_settings_open_nothing(tmp_path: Path, loaded: list[str]) -> None:
    state = tmp_path / "state"
    keep_guard(FileStore(str(state)), TABLE)
    (tmp_path / "waypost.toml").write_text("[plugins.exit_node\n")
    places = [
        "--state-dir",
        str(state),
        "--socket",
        str(tmp_path / "socket"),
        "--config",
        str(tmp_path / "waypost.toml"),
    ]
    done = CliRunner().invoke(waypostd, ["--restore-guard", *places])
    assert (done.exit_code, loaded) == (0, [TABLE])
