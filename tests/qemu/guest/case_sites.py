"""What subnet_router does for sites, with gateways on the kernel's WireGuard: run inside the guest (`make qemu`)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.test_equal_networks import build, join, limited, one_to_one, through_4via6, translation_shown
from tests.qemu.guest.gateways import on_kernel_engine

pytestmark = pytest.mark.timeout(1700)

MEGABYTES, MBIT = 1, 2


def test_ok__equal_networks_meet_and_limits_hold(lab: Lab, tmp_path: Path) -> None:
    world = build(lab, tmp_path, MEGABYTES)
    join(world)
    for gateway in world.gateways.values():
        on_kernel_engine(gateway)
    started = time.monotonic()
    for step in (through_4via6, one_to_one):
        step(world)
        print(f"{step.__name__} after {time.monotonic() - started:.0f} s", flush=True)
    assert limited(world, MBIT, MEGABYTES), "this kernel has fq_codel as a module"
    translation_shown(world)
