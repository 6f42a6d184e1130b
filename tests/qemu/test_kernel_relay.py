"""Debian's stock kernel believes the relay's program, and forwards by it: the lab's cases in a guest."""

from __future__ import annotations

import pytest

from tests.qemu.machine import run_guest

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(1700)]


def test_ok__the_lab_s_cases_in_the_guest() -> None:
    files = "tests/unit/appliance/bpf/test_calls.py tests/lab/test_kernel_relay.py"
    command = f"python -m pytest -q -p no:cacheprovider --color=no -rs --timeout=120 {files}"
    result = run_guest(command, timeout_s=1500)
    print(result.console[-20000:])
    print(f"{result.seconds:.0f} s from power-on to power-off")
    assert result.code == 0
    assert "skipped" not in result.console
