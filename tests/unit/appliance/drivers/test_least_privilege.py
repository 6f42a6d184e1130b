"""Giving up privileges, tried in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from appliance.drivers.least_privilege import can_run_python_as, holds_capabilities

PROGRAM = """
import sys
from appliance.drivers.least_privilege import give_up_privileges
give_up_privileges(sys.argv[1])
print(open("/proc/self/status").read())
"""


@pytest.mark.parametrize("user", ["", "nobody"] if os.geteuid() == 0 else [""])
def test_ok__nothing_is_left(user: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, user], capture_output=True, text=True, check=True)
    status = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    if user:
        assert status["Uid"].split() == ["65534"] * 4
        assert status["Groups"].split() == []


def test_fail__unknown_user() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "no-such-user"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "PrivilegeError" in done.stderr


def test_ok__readable_by_everyone_is_found_out(tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o600)
    assert can_run_python_as(os.geteuid(), str(file))
    assert not can_run_python_as(65534, str(file))


@pytest.mark.parametrize(
    ("inheritable", "permitted", "holds"), [("0", "0", False), ("0", "3000", True), ("1", "0", True)]
)
def test_ok__capabilities_are_seen(tmp_path, inheritable: str, permitted: str, holds: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapInh:\t{inheritable}\nCapPrm:\t{permitted}\nCapEff:\t0\n")
    assert holds_capabilities(status) is holds
