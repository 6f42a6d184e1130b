"""The running part: an examination soon after the start, then one every while."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from appliance.api import Finding, HostHandle, RefreshKind
from plugins.doctor.config import DoctorConfig

FIRST_S = 30.0
"""After the start: by then paths are found and the first netcheck has ended."""


class Rounds:
    """`config` gives the settings, `found` takes what an examination found."""

    name = "rounds"

    def __init__(
        self, host: HostHandle, config: Callable[[], DoctorConfig], found: Callable[[tuple[Finding, ...]], None]
    ) -> None:
        self._host = host
        self._config = config
        self._found = found

    async def run(self) -> NoReturn:
        await self._host.sleep(FIRST_S)
        while True:
            self._found(await self._host.examine())
            await self._host.request_refresh(RefreshKind.STATUS, "examined")
            await self._host.sleep(self._config().interval_minutes * 60.0)
