"""The systemd units keep what the design promises: no root, few capabilities, a closed file system."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
HARDENED = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "SystemCallFilter=",
    "CapabilityBoundingSet=",
    "User=",
)


def test_ok__there_are_units() -> None:
    assert {unit.name for unit in UNITS} >= {"waypostd.service", "waypost-control.service"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_ok__unit_is_hardened(unit: Path) -> None:
    text = unit.read_text()
    assert not [line for line in HARDENED if line not in text]
