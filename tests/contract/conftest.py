"""The worlds on which the contract suites run."""

from __future__ import annotations

import pytest

from appliance.engine.userspace.packet_step import PacketStep
from tests.contract.world import World


@pytest.fixture
def world(step: PacketStep) -> World:
    return World(step=step)
