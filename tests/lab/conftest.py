"""Fixtures of the lab: a fresh set of namespaces per test, always removed, logs shown when a test fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab, check_requirements


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    check_requirements()
    logs = tmp_path / "logs"
    with Lab(logs) as built:
        yield built
    for log in sorted(logs.glob("*waypost*.log")):
        request.node.add_report_section("teardown", log.name, log.read_text(errors="replace")[-6000:])
