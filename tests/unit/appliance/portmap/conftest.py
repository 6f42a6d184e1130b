"""A port mapper beside a router on a clock that stands still."""

from __future__ import annotations

import pytest

from tests.unit.appliance.portmap.twin_router import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
