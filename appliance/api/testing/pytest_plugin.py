"""Fixtures for tests of plugins; pytest loads them wherever Waypost is installed (entry point `waypost`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from appliance.api.testing.fake_host import FakeHost
    from appliance.api.testing.virtual_time import VirtualTime


@pytest.fixture
def virtual_time() -> VirtualTime:
    """A clock on which services sleep; time passes only in `await virtual_time.pass_time(seconds)`."""
    from appliance.api.testing.virtual_time import VirtualTime  # only for tests that ask

    return VirtualTime()


@pytest.fixture
def fake_host(virtual_time: VirtualTime) -> FakeHost:
    """A `HostHandle` that keeps what a plugin asked for, on the virtual clock."""
    from appliance.api.testing.fake_host import FakeHost  # only for tests that ask

    return FakeHost(time=virtual_time)
