"""What systemd's jobs say about the run after this one; lines as systemd 252 prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.daemon import successor
from appliance.daemon.successor import UNIT, guard_outlives, run_follows

NAME = "waypostd.service"
RESTART = f"812 {NAME} restart running\n"
STOP = f"813 {NAME} stop running\n"
OTHERS = "814 nftables.service restart running\n815 network.target stop waiting\n"
REBOOT = f"901 reboot.target start waiting\n902 {NAME} stop running\n903 shutdown.target start waiting\n"


@pytest.mark.parametrize(
    ("jobs", "follows"),
    [
        (RESTART, True),
        (OTHERS + RESTART, True),
        (f"820 {NAME} start waiting\n", True),
        (REBOOT, True),
        (STOP, False),
        (OTHERS + STOP, False),
        (f"821 other-{NAME} restart running\n", False),
        ("", False),
    ],
)
def test_ok__a_restart_and_a_shutdown_keep_the_guard(jobs: str, follows: bool) -> None:
    assert run_follows(NAME, jobs) is follows


def systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The program that the daemon finds."""
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.parametrize(("jobs", "outlives"), [(RESTART, True), (STOP, False)])
async def test_ok__systemd_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: str, outlives: bool) -> None:
    systemctl(tmp_path, monkeypatch, f'test "$1" = list-jobs && printf %s "{jobs}"')
    assert await guard_outlives({UNIT: NAME}) is outlives


async def test_ok__by_hand_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(tmp_path, monkeypatch, f"touch {tmp_path}/asked")
    assert not await guard_outlives({})
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("script", ["echo Failed to connect to bus >&2; exit 1", "exec sleep 60"])
async def test_fail__no_answer_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(successor, "ANSWER_S", 0.2)
    systemctl(tmp_path, monkeypatch, script)
    assert await guard_outlives({UNIT: NAME})


async def test_fail__no_systemctl_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await guard_outlives({UNIT: NAME})
