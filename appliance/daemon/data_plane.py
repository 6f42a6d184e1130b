"""Which engine runs: the kernel's WireGuard where there is one, else our own, with the reason in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from appliance.config.schema import TunnelSection
from appliance.daemon.parts import DataPlane
from appliance.daemon.placement import Placement
from appliance.drivers.loopback import LinuxLoopbackPort, LinuxMeshPort
from appliance.drivers.nft_elements import table_stands
from appliance.drivers.nftables import apply_now
from appliance.drivers.raw_udp import open_raw_udp_ports
from appliance.drivers.streams import BYPASS_MARK
from appliance.drivers.wireguard_device import DeviceInUseError, NetlinkWireGuardDevice
from appliance.engine.kernel import KernelEngine
from appliance.engine.kernel.steering import TABLE as STEERING_TABLE
from appliance.engine.kernel.steering import unsteering_document
from appliance.engine.userspace import UserspaceEngine, choose_step
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.types.errors import ApplianceError, UnderlayError
from appliance.types.keys import NodePublicKey

log = structlog.get_logger("waypostd")

_CRASHES = ("signal", "core-dump", "watchdog", "oom-kill")


@dataclass(frozen=True, slots=True)
class Memory:
    """What the run before knew: greatest handshake timestamps sent and received. `configured`: it was in a mesh."""

    last_timestamp: bytes
    greatest_timestamps: Mapping[NodePublicKey, bytes]
    configured: bool


@dataclass(frozen=True, slots=True)
class StartedEngine:
    """`reason` is why this one runs; `form` that of the userspace engine's step.

    `adopted`: it goes on with the device and the host's settings of a killed run.
    """

    engine: DataPlane
    reason: str
    form: str = ""
    adopted: bool = False


async def start_engine(
    tunnel: TunnelSection, placement: Placement, memory: Memory, clock: Clock, randomness: Randomness
) -> StartedEngine:
    """Raises what the engines raise at their start.

    With `auto` whatever keeps the kernel engine from starting leads to the userspace engine: nobody is locked out. Only
    a device that another gateway uses is left to it.
    """
    start_userspace = partial(_start_userspace, tunnel, placement, memory, clock, randomness)
    if tunnel.engine == "userspace":
        return await start_userspace("chosen in the configuration")
    try:
        return await _start_kernel(tunnel, placement, memory, clock)
    except DeviceInUseError:
        raise
    except (ApplianceError, OSError) as error:
        if tunnel.engine == "kernel":
            raise
        because = error.text if isinstance(error, ApplianceError) else f"the kernel engine failed: {error}"
        log.info("the userspace engine runs", because=because)
        return await start_userspace(because)


async def _start_kernel(tunnel: TunnelSection, placement: Placement, memory: Memory, clock: Clock) -> StartedEngine:
    if placement.rootless:
        raise UnderlayError(
            "a rootless gateway has no device of the kernel's", mend='set tunnel.engine to "auto" or "userspace"'
        )
    engine = KernelEngine(
        NetlinkWireGuardDevice(tunnel.interface, tunnel.mtu),
        lambda: LinuxLoopbackPort(BYPASS_MARK),
        lambda: LinuxMeshPort(tunnel.interface),
        placement.open_udp,
        lambda port: open_raw_udp_ports(port, mark=BYPASS_MARK, ignored=("lo", tunnel.interface)),
        apply_now,
        clock,
        port=tunnel.port,
        mark=BYPASS_MARK,
        steered=lambda: table_stands("inet", STEERING_TABLE),
        adopt=memory.configured,
    )
    await engine.start()
    reason = "chosen in the configuration" if tunnel.engine == "kernel" else "the kernel has WireGuard"
    if engine.steering_refused:
        reason += f"; raw sockets share its port: {engine.steering_refused}"
        log.warning("raw sockets share the port of WireGuard", because=engine.steering_refused)
    return StartedEngine(engine, reason, adopted=engine.adopted)


async def _start_userspace(
    tunnel: TunnelSection, placement: Placement, memory: Memory, clock: Clock, randomness: Randomness, reason: str
) -> StartedEngine:
    if not placement.rootless:
        remove_left_device(tunnel)
        with contextlib.suppress(ApplianceError):  # where nft cannot work the router says so
            await asyncio.to_thread(apply_now, unsteering_document())
    step = choose_step(tunnel.native)
    engine = UserspaceEngine(
        placement.open_tun(tunnel.interface, tunnel.mtu),
        placement.open_udp,
        clock,
        randomness,
        port=tunnel.port,
        last_timestamp=memory.last_timestamp,
        greatest_timestamps=memory.greatest_timestamps,
        step=step,
    )
    try:
        await engine.start()
    except BaseException:
        await engine.close()
        raise
    return StartedEngine(engine, reason, step.form)


def remove_left_device(tunnel: TunnelSection) -> bool:
    """Remove the WireGuard device and the steering that a killed kernel engine left; whether there was one.

    Raises `DeviceInUseError` when it belongs to a gateway that runs.
    """
    if not NetlinkWireGuardDevice(tunnel.interface, tunnel.mtu).remove_left():
        return False
    apply_now(unsteering_document())
    return True


def ended_badly(environment: Mapping[str, str] = os.environ) -> bool:
    """In the words of systemd, which tells it to what runs after the daemon; nothing is told by hand."""
    return environment.get("SERVICE_RESULT", "success") != "success"


def left_by_crash(tunnel: TunnelSection, environment: Mapping[str, str] = os.environ) -> bool:
    """systemd will start the gateway again after a crash: until then the kernel shall go on forwarding."""
    crashed = environment.get("SERVICE_RESULT", "") in _CRASHES
    return crashed and NetlinkWireGuardDevice(tunnel.interface, tunnel.mtu).exists()
