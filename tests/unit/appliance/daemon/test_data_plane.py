"""Which engine runs. The engines' starts are replaced: what they need is not on every host."""

from typing import Any

import pytest

from appliance.config.schema import TunnelSection
from appliance.daemon import data_plane
from appliance.daemon.data_plane import Memory, StartedEngine, ended_badly, left_by_crash, start_engine
from appliance.daemon.placement import Placement
from appliance.drivers.sockets import open_socket
from appliance.drivers.wireguard_device import DeviceInUseError, KernelLacksWireGuardError
from appliance.ports.clock import SystemClock
from appliance.ports.firewall import FirewallError
from appliance.ports.netlink import MemoryNetlink
from appliance.ports.randomness import SystemRandomness
from tests.unit.appliance.daemon.conftest import TwinEngine

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""

MEMORY = Memory(bytes(12), {}, configured=False)


@pytest.fixture
def userspace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(*arguments: object) -> StartedEngine:
        return StartedEngine(TwinEngine(), str(arguments[-1]))

    monkeypatch.setattr(data_plane, "_start_userspace", start)


def kernel(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    async def start(*_: object) -> StartedEngine:
        if error is not None:
            raise error
        return StartedEngine(TwinEngine(), "kernel")

    monkeypatch.setattr(data_plane, "_start_kernel", start)


async def choose(engine: str) -> str:
    placement = Placement(False, MemoryNetlink(), open_socket, _none, _none, _none)
    return (
        await start_engine(TunnelSection(engine=engine), placement, MEMORY, SystemClock(), SystemRandomness())
    ).reason


def _none(*_: object) -> Any:
    """Nothing is opened: the engines' starts are replaced."""
    raise AssertionError


async def test_ok__auto_prefers_the_kernel(monkeypatch: pytest.MonkeyPatch, userspace: None) -> None:
    kernel(monkeypatch)
    assert await choose("auto") == "kernel"
    assert await choose("userspace") == "chosen in the configuration"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KernelLacksWireGuardError("this kernel has no WireGuard"), "this kernel has no WireGuard"),
        (FirewallError("no fib"), "no fib"),
        (OSError(12, "Cannot allocate memory"), "the kernel engine failed: [Errno 12] Cannot allocate memory"),
    ],
)
async def test_ok__auto_falls_back_and_says_why(
    monkeypatch: pytest.MonkeyPatch, userspace: None, error: Exception, reason: str
) -> None:
    kernel(monkeypatch, error)
    assert await choose("auto") == reason
    with pytest.raises(type(error)):
        await choose("kernel")


class SplitByRawSockets(TwinEngine):
    """A kernel engine whose rules nftables refused."""

    steering_refused = "no fib"
    adopted = False

    async def start(self) -> None:
        """Nothing to make."""


async def test_ok__raw_sockets_beside_the_kernel_s_port_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_plane, "KernelEngine", lambda *_, **__: SplitByRawSockets())
    assert await choose("auto") == "the kernel has WireGuard; raw sockets share its port: no fib"
    assert await choose("kernel") == "chosen in the configuration; raw sockets share its port: no fib"


async def test_ok__rootless_gateway_has_its_own_engine(userspace: None) -> None:
    placement = Placement(True, MemoryNetlink(), open_socket, _none, _none, _none)
    started = await start_engine(TunnelSection(), placement, MEMORY, SystemClock(), SystemRandomness())
    assert started.reason == "a rootless gateway has no device of the kernel's"


async def test_fail__device_of_a_gateway_that_runs(monkeypatch: pytest.MonkeyPatch, userspace: None) -> None:
    kernel(monkeypatch, DeviceInUseError("in use"))
    with pytest.raises(DeviceInUseError):
        await choose("auto")


@pytest.mark.parametrize(
    ("result", "there", "left"),
    [("signal", True, True), ("signal", False, False), ("success", True, False), ("", True, False)],
)
def test_ok__only_a_crash_leaves_the_kernel_forwarding(
    monkeypatch: pytest.MonkeyPatch, result: str, there: bool, left: bool
) -> None:
    monkeypatch.setattr(data_plane.NetlinkWireGuardDevice, "exists", lambda self: there)
    assert left_by_crash(TunnelSection(), {"SERVICE_RESULT": result}) is left


@pytest.mark.parametrize(
    ("result", "badly"), [("signal", True), ("exit-code", True), ("watchdog", True), ("success", False), (None, False)]
)
def test_ok__how_the_daemon_ended(result: str | None, badly: bool) -> None:
    assert ended_badly({"SERVICE_RESULT": result} if result else {}) is badly
