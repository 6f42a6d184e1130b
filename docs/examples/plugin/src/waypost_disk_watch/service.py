"""The running part: measures every `interval_s` seconds."""

from __future__ import annotations

import asyncio
import shutil
from typing import NoReturn

from appliance.api import HostHandle, RefreshKind
from waypost_disk_watch.rules import Disk, WatchState, is_low


class Measuring:
    name = "measuring"

    def __init__(self, host: HostHandle, state: WatchState) -> None:
        self._host = host
        self._state = state

    async def run(self) -> NoReturn:
        while True:
            before = self._verdicts()
            self._state.disks = tuple([await self._measure(folder) for folder in self._state.config.folders])
            if self._verdicts() != before:
                await self._host.request_refresh(RefreshKind.STATUS, "free space changed")
            await self._host.sleep(self._state.config.interval_s)

    async def _measure(self, folder: str) -> Disk:
        """In a thread: a network disk may take its time."""
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, folder)
        except OSError:
            return Disk(folder)
        return Disk(folder, usage.free, usage.total)

    def _verdicts(self) -> list[tuple[str, bool, bool]]:
        return [(disk.folder, disk.total_bytes > 0, is_low(self._state, disk)) for disk in self._state.disks]
