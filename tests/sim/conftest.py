"""The fixture of stories."""

from __future__ import annotations

import pytest

from tests.sim.story import Story


@pytest.fixture
def story(request: pytest.FixtureRequest):
    made = Story()
    yield made
    print(made.world.timeline.text())  # shown by pytest when the test fails
