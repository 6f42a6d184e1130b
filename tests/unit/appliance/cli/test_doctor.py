"""`waypost doctor` against a real local API server on twins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.main import run
from appliance.localapi.doctor_routes import MemoryDoctor
from appliance.localapi.server import LocalApiServer
from appliance.types.findings import FAILED, OK, SKIPPED, Finding
from tests.unit.appliance.local_gateway import in_thread, twin_backend


@pytest.fixture
def doctor(tmp_path: Path) -> Iterator[tuple[str, MemoryDoctor]]:
    twin, socket = MemoryDoctor(), str(tmp_path / "api.sock")
    server = LocalApiServer(twin_backend(), socket, doctor=twin)
    with in_thread(server):
        yield socket, twin


def test_ok__findings(doctor: tuple[str, MemoryDoctor], capsys: pytest.CaptureFixture[str]) -> None:
    socket, twin = doctor
    twin.findings = (Finding("clock", OK, "it is kept"), Finding("nat", SKIPPED, "not measured"))
    assert run(["--socket", socket, "doctor"]) == 0
    assert capsys.readouterr().out == "1 of 2 looks found nothing to mend\n"
    assert run(["--socket", socket, "doctor", "--all"]) == 0
    assert "it is kept" in capsys.readouterr().out


def test_fail__something_is_wrong(doctor: tuple[str, MemoryDoctor], capsys: pytest.CaptureFixture[str]) -> None:
    socket, twin = doctor
    twin.findings = (Finding("mtu", FAILED, "large packets vanish", "let ICMP pass"),)
    assert run(["--socket", socket, "doctor"]) == 1
    assert "→ let ICMP pass" in capsys.readouterr().out
    assert run(["--socket", socket, "doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "findings": [
            {"check": "mtu", "state": "failed", "text": "large packets vanish", "mend": "let ICMP pass"},
        ],
    }
