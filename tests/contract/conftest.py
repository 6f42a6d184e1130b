"""The worlds on which the contract suites run."""

from __future__ import annotations

import pytest

from tests.contract.world import World


@pytest.fixture
def world() -> World:
    return World()
