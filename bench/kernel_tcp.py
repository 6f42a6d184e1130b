"""The kernel engine against WireGuard configured by hand, in a guest whose kernel has WireGuard (`tests/qemu`).

The guest runs `bench.kernel_guest` and prints the lines; needs what `make qemu` needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.lab.namespaces import LabError
from tests.qemu.machine import MachineError, run_guest

TIME_LIMIT_S = 2400


def run(directory: Path) -> Iterator[str]:
    del directory  # the guest has its own
    try:
        result = run_guest("python -m bench.kernel_guest", timeout_s=TIME_LIMIT_S)
    except MachineError as error:
        raise LabError(f"kernel_tcp: {error}") from error
    if result.code:
        raise LabError(f"kernel_tcp failed in the guest:\n{result.console[-4000:]}")
    yield from (each for each in result.console.splitlines() if each.startswith('{"bench"'))
