from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.schema import Config, DaemonSection
from appliance.daemon.startup import only_one, prepare_folders
from appliance.types.errors import ConfigError, StateError


def config(state: Path, socket: Path) -> Config:
    return Config(daemon=DaemonSection(state_dir=str(state), socket=str(socket)))


def test_ok__folders_are_made(tmp_path: Path) -> None:
    prepare_folders(config(tmp_path / "a/state", tmp_path / "run/s"))
    assert (tmp_path / "a/state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run").is_dir()


def test_fail__state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used") as caught:
        prepare_folders(config(tmp_path / "file", tmp_path / "s"))
    assert "--state-dir" in caught.value.mend


def test_fail__two_processes_on_one_state_folder(tmp_path: Path) -> None:
    second = only_one(str(tmp_path))
    with only_one(str(tmp_path)), pytest.raises(ConfigError, match="another waypostd is running"):
        second.__enter__()
    with only_one(str(tmp_path)):
        pass
