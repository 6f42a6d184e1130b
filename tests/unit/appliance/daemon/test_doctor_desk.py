"""The doctor's facts, on a gateway with twins of the host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.daemon.doctor_desk import DoctorDesk
from appliance.localapi.schema import UpRequest
from appliance.types.findings import FAILED, OK, STATES, Finding


async def findings(process: Any, **places: Path) -> dict[str, Finding]:
    desk = DoctorDesk(
        process.core, process.applier._situation, process.applier, lambda: process.gateway.status(peers=False), **places
    )
    return {each.check: each for each in await desk.examine()}


async def test_ok__before_and_after_the_login(process: Any, url: str, key: str) -> None:
    before = await findings(process)
    assert list(before)[:2] == ["control", "relay"]
    assert {each.state for each in before.values()} <= set(STATES)
    assert before["control"].state == FAILED
    await process.gateway.up(UpRequest(control_url=url, auth_key=key))
    await process.until(lambda: process.gateway.status().state == "running")
    after = await findings(process)
    assert after["control"].state == OK
    assert after["approvals"].state == OK
    assert after["firewall"].state == OK


@pytest.mark.parametrize(
    ("everywhere", "here", "marks", "strict"),
    [
        ("0", "1", "0", True),
        ("1", "0", "0", True),
        ("2", "1", "0", False),
        ("1", "1", "1", False),
        ("0", "0", "0", False),
    ],
)
def test_ok__strict_filter(tmp_path: Path, everywhere: str, here: str, marks: str, strict: bool) -> None:
    for name, value in (("all", everywhere), ("eth0", here)):
        folder = tmp_path / "ipv4/conf" / name
        folder.mkdir(parents=True)
        (folder / "rp_filter").write_text(f"{value}\n")
        (folder / "src_valid_mark").write_text(f"{marks}\n")
    core: Any = SimpleNamespace(clock=None, randomness=None, sockets=None)
    desk = DoctorDesk(core, core, core, core, proc=tmp_path)
    assert desk._is_strict("eth0") is strict
