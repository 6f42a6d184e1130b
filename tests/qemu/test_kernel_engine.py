"""The kernel engine in a guest whose kernel has WireGuard: each test boots one and runs a file of `guest/` in it."""

from __future__ import annotations

import pytest

from tests.qemu.machine import run_guest

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(2000)]

LIMIT_S = 1800
"""A quarter of it is enough on an idle machine."""


@pytest.mark.parametrize(
    "cases",
    [
        "case_configuration.py case_engine.py",
        "case_gateways.py::test_ok__direct_relayed_and_direct_again_under_a_download",
        "case_gateways.py::test_ok__killed_gateway_leaves_the_kernel_forwarding_and_takes_it_over",
        "case_gateways.py::test_ok__kernel_engine_and_userspace_engine_and_a_relay_only",
        "case_gateways.py::test_ok__raw_sockets_where_the_kernel_lacks_fib case_raw_sockets.py",
        "case_links.py",
        "case_sites.py::test_ok__equal_networks_meet_and_limits_hold",
        "case_sites.py::test_ok__transfer_between_sites_outlives_the_router_in_use",
        "case_features.py",
        "case_relay.py",
        "case_peers.py",
        "case_exit.py",
    ],
)
def test_ok__cases_pass_in_the_guest(cases: str) -> None:
    files = " ".join(f"tests/qemu/guest/{name}" for name in cases.split())
    result = run_guest(f"python -m pytest -q -p no:cacheprovider --color=no -rP {files}", timeout_s=LIMIT_S)
    print(result.console[-20000:])
    print(f"{result.seconds:.0f} s from power-on to power-off")
    assert result.code == 0


def test_fail__failing_program_in_the_guest_is_seen() -> None:
    result = run_guest("uname -r; wg --version; exit 7", timeout_s=120)
    assert result.code == 7
    assert "cloud-amd64" in result.console
