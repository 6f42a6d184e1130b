"""A service that keeps everything."""

from __future__ import annotations

from typing import NoReturn

from appliance.api import HostHandle, hookimpl


class Hoard:
    name = "hoard"

    def __init__(self, host: HostHandle) -> None:
        self._host = host
        self._kept: list[bytearray] = []

    async def run(self) -> NoReturn:
        while True:
            self._kept.append(bytearray(1 << 20))
            await self._host.sleep(0.01)


class Leaks:
    @hookimpl
    def appliance_start(self, host: HostHandle) -> list[Hoard]:
        return [Hoard(host)]
