"""Relaying in the kernel, as this daemon can have it: by itself, by the root helper, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from appliance.drivers.helper import HelperClient
from appliance.drivers.kernel_relay import open_kernel_relay, remove_left_programs
from appliance.drivers.sockets import BYPASS_MARK
from appliance.ports.kernel_relay import KernelRelay, KernelRelayError

log = structlog.get_logger("waypostd")


def kernel_relays(helper: HelperClient | None) -> Callable[[int], Awaitable[KernelRelay]]:
    """Opens one for the port of a relay; `helper` None: rootless, and hence none."""

    async def opened(port: int) -> KernelRelay:
        if helper is None:
            raise KernelRelayError("a rootless gateway may not load a program into the kernel")
        return await open_kernel_relay(port, BYPASS_MARK, helper.load_relay)

    return opened


def remove_left_relay() -> None:
    """What a killed run left at devices forwards nothing, but goes all the same."""
    try:
        devices = remove_left_programs()
    except KernelRelayError as error:
        log.warning("a relay's program is left", reason=error.text)
        return
    if devices:
        log.info("removed what a run before left", items=[f"relay at {device}" for device in devices])
