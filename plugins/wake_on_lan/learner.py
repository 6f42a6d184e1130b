"""Looks at the attached networks: remembers their hosts, so that one that sleeps now can be woken by its address."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from appliance.api import HostHandle
from plugins.wake_on_lan.rules import Target
from plugins.wake_on_lan.state import MAX_LEARNED, WakeState

LOOK_S = 60.0
ENTRY = "learned"


class Learner:
    name = "learner"

    def __init__(self, host: HostHandle, state: WakeState) -> None:
        self._host = host
        self._state = state

    async def run(self) -> NoReturn:
        await self._recall()
        while True:
            attached = await self._host.attached_prefixes()
            self._state.interfaces = frozenset(each.interface for each in attached)
            if self._state.learns:
                seen = await self._host.neighbours()
                if self._state.learn(Target(each.mac, each.address, each.interface) for each in seen):
                    await self._keep()
            elif self._state.learned:
                self._state.learned.clear()
                await self._host.store_delete(ENTRY)
            await self._host.sleep(LOOK_S)

    async def _recall(self) -> None:
        """What is kept from before, unless its form is another one."""
        kept = await self._host.store_get(ENTRY)
        try:
            found = msgspec.json.decode(kept or b"[]", type=list[Target])
        except msgspec.MsgspecError:
            found = []
        self._state.learn(found[-MAX_LEARNED:])

    async def _keep(self) -> None:
        await self._host.store_put(ENTRY, msgspec.json.encode(list(self._state.learned.values())))
