"""Looking at what the settings name; the command's own test shows each problem."""

from __future__ import annotations

from pathlib import Path

from control.server.check import check_files
from control.server.settings import ServerSettings


def test_ok__nothing_named_nothing_wrong(tmp_path: Path) -> None:
    assert check_files(ServerSettings(data_dir=tmp_path)) == []


def test_fail__each_problem_has_a_mend(tmp_path: Path) -> None:
    settings = ServerSettings(
        data_dir=tmp_path,
        policy_file=tmp_path / "none",
        derp_map_files=(tmp_path / "a", tmp_path / "b"),
        country_file=tmp_path / "c.mmdb",
    )
    problems = check_files(settings)
    assert len(problems) == 4
    assert all(problem.mend for problem in problems)
