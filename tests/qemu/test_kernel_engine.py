"""The kernel engine in a guest whose kernel has WireGuard: each test boots one and runs a file of `guest/` in it."""

from __future__ import annotations

import pytest

from tests.qemu.machine import run_guest

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(1000)]


@pytest.mark.parametrize("cases", ["case_configuration.py case_engine.py", "case_gateways.py"])
def test_ok__cases_pass_in_the_guest(cases: str) -> None:
    files = " ".join(f"tests/qemu/guest/{name}" for name in cases.split())
    result = run_guest(f"python -m pytest -q -p no:cacheprovider --color=no -rP {files}", timeout_s=900)
    print(result.console[-20000:])
    print(f"{result.seconds:.0f} s from power-on to power-off")
    assert result.code == 0


def test_fail__failing_program_in_the_guest_is_seen() -> None:
    result = run_guest("uname -r; wg --version; exit 7", timeout_s=120)
    assert result.code == 7
    assert "cloud-amd64" in result.console
