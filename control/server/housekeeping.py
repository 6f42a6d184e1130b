"""What the server does by the clock: keep-alives, grace times, the watchdog, certificates, DERP maps, other files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from appliance.types.errors import ApplianceError

if TYPE_CHECKING:
    from appliance.ports.clock import Clock
    from control.noise.upgrade import NoiseUpgrade
    from control.server.derp_maps import DerpMaps
    from control.server.embedded_derp import EmbeddedDerp
    from control.server.sessions import SessionHub
    from control.service.service import ControlService
    from control.tls.identity import ServerTls
    from control.tls.renewal import Renewer

log = structlog.get_logger("control.server")

TICK_S = 1.0
REFRESH_S = 3600.0
IDLE_S = 150.0
"""A tunnel without a request lives for one to two times this."""


@dataclass(slots=True)
class Housekeeping:
    """What the ticker drives."""

    service: ControlService
    hub: SessionHub
    noise: NoiseUpgrade
    derp: EmbeddedDerp | None
    front_tls: ServerTls | None
    derp_maps: DerpMaps
    clock: Clock
    beat: Callable[[], None] | None
    reload: asyncio.Event
    renewer: Renewer | None = None


async def tick(house: Housekeeping) -> None:
    """Once a second: keep-alives, grace times, the watchdog; once an hour: certificates."""
    refreshed = swept = house.clock.now()
    while True:
        await asyncio.sleep(TICK_S)
        house.hub.tick()
        if house.clock.now() - swept >= IDLE_S:
            swept = house.clock.now()
            house.noise.sweep()
        try:
            await house.service.sweep()
            if house.reload.is_set() or house.clock.now() - refreshed >= REFRESH_S:
                refreshed = house.clock.now()
                await _refresh(house)
        except ApplianceError as error:
            log.error("housekeeping failed, it is tried again", error=error.line())
        if house.beat is not None:
            house.beat()


async def _refresh(house: Housekeeping) -> None:
    """Certificates by the hour; everything that may be replaced from outside when asked."""
    asked = house.reload.is_set()
    house.reload.clear()
    refresh_certificates(house)
    house.service.refresh_files()
    if asked:
        if house.renewer is not None:
            house.renewer.ask()
        house.service.set_derp_map(await house.derp_maps.refresh())
        log.info("certificates and DERP maps were looked at again")


def refresh_certificates(house: Housekeeping) -> None:
    """Present what was renewed; nodes are told where they know a relay by its certificate."""
    changed = house.front_tls is not None and house.front_tls.refresh()
    if house.derp is not None and (house.derp.refresh() or changed):
        house.service.set_derp_map(house.derp_maps.joined())


async def renew_derp_map(derp_maps: DerpMaps, service: ControlService, interval_s: float) -> None:
    """Ask the sources again and again; nodes hear of it when something differs."""
    while True:
        await asyncio.sleep(interval_s)
        service.set_derp_map(await derp_maps.refresh())
