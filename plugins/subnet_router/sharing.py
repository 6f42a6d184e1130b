"""Holds the shared addresses of a pair of routers while their LANs go through here, and no longer."""

from __future__ import annotations

from appliance.api import HealthItem, HostHandle
from appliance.types.errors import ApplianceError

HOLD_S = 12
RENEW_S = 3.0
"""An address is held for the one, renewed and announced after the other: a router that died gives it up by itself."""
CODE = "shared-address"
MEND = "look at the log of waypostd; hosts keep using the other router"

Place = tuple[str, str]
"""Address and interface."""


class AddressShare:
    def __init__(self, host: HostHandle) -> None:
        self._host = host
        self._held: dict[Place, float] = {}
        """When each was last renewed, or was to be."""
        self._problems: dict[Place, ApplianceError] = {}

    async def follow(self, wanted: frozenset[Place]) -> None:
        """`wanted`: what this router holds now."""
        gone = self._held.keys() - wanted
        for place in gone:
            del self._held[place]
            self._problems.pop(place, None)
            await self._host.drop_address(*place)
        now = await self._host.now()
        due = [place for place in sorted(wanted) if place not in self._held or now - self._held[place] >= RENEW_S]
        for place in due:
            self._held[place] = now
            await self._renew(place)
        if gone or due:
            await self._tell()

    async def _renew(self, place: Place) -> None:
        try:
            await self._host.hold_address(*place, HOLD_S)
        except ApplianceError as error:
            self._problems[place] = error
        else:
            self._problems.pop(place, None)

    async def _tell(self) -> None:
        problem = next(iter(self._problems.values()), None)
        if problem is None:
            await self._host.clear_health(CODE)
        else:
            await self._host.set_health(HealthItem(CODE, problem.text, problem.mend or MEND))
