"""The two forms of the userspace engine's packet step: what takes `step` runs with each of them."""

from __future__ import annotations

import pytest

from appliance.engine.userspace.native_step import NativeStep
from appliance.engine.userspace.packet_step import PacketStep, PureStep
from appliance.native import load, problem
from tests.cargo import find_cargo


def native_step() -> NativeStep:
    """Skips the test without a module where no cargo can build it; where one can, the missing module is a failure."""
    native = load()
    if native is not None:
        return NativeStep(native)
    if find_cargo() is not None:
        pytest.fail(f"{problem()} although cargo is here: run tools/build_native.sh")
    pytest.skip(f"not tried in its native form: {problem()}, since there is no cargo, or one that is too old")


@pytest.fixture(params=["pure", "native"])
def step(request: pytest.FixtureRequest) -> PacketStep:
    return PureStep() if request.param == "pure" else native_step()


@pytest.fixture
def bulk() -> NativeStep:
    """The native form alone."""
    return native_step()
