"""The engines' contract of configuration, on the kernel itself: run inside the guest (`make qemu`)."""

from __future__ import annotations

import pytest

from tests.contract.test_engine_configuration import *  # noqa: F403  # the suite with another subject
from tests.contract.test_engine_configuration import Subject
from tests.qemu.guest.world import World, inside

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def subject(world: World) -> Subject:
    with inside(world.a.host):
        await world.a.engine.start()
    return Subject(world.a.engine, world.a.engine)
