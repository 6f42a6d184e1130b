"""The running part: notices that the host's own networks changed and has the routes judged anew."""

from __future__ import annotations

from typing import NoReturn

from appliance.api import HostHandle, LogLevel

INTERVAL_S = 10.0


class LanWatch:
    """The core asks for routes at link events; this also catches what comes without one (an address added by hand)."""

    name = "lan-watch"

    def __init__(self, host: HostHandle) -> None:
        self._host = host

    async def run(self) -> NoReturn:
        known = await self._host.attached_prefixes()
        while True:
            await self._host.sleep(INTERVAL_S)
            found = await self._host.attached_prefixes()
            if found != known:
                known = found
                names = [lan.prefix for lan in found]
                await self._host.log(LogLevel.INFO, "own_networks_changed", {"prefixes": list(names)})
                await self._host.request_router_refresh("own networks changed")
