from __future__ import annotations

from pathlib import Path

import pytest

from appliance.checks import machine
from appliance.types.findings import FAILED, OK, WARNING


def test_ok__clock() -> None:
    assert machine.clock(is_kept=True).state == OK
    assert machine.clock(is_kept=False).state == WARNING
    assert isinstance(machine.clock_is_kept(), bool)


def test_ok__disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.disk(tmp_path, "state_dir").state == OK
    missing = machine.disk(tmp_path / "none", "state_dir")
    assert (missing.state, missing.mend) == (FAILED, "check state_dir")
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 1 << 62)
    monkeypatch.setattr(machine, "MIN_FREE_SHARE", 1.1)
    assert "make room" in machine.disk(tmp_path, "state_dir").mend


def test_fail__disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert "not writable" in machine.disk(tmp_path, "state_dir").text
