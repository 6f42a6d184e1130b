"""Finds the peers that new limits name: the netmap's changes tell of those only who change."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from appliance.api import HostHandle
from plugins.subnet_router.shaping import NamedPeers

INTERVAL_S = 1.0


class PeerLookup:
    """Looks through all peers once after limits were given. `looked` is called then."""

    name = "peer-lookup"

    def __init__(self, host: HostHandle, named: NamedPeers, looked: Callable[[], None]) -> None:
        self._host = host
        self._named = named
        self._looked = looked

    async def run(self) -> NoReturn:
        while True:
            if self._named.is_stale:
                self._named.look((await self._host.netmap()).peers)
                self._looked()
                await self._host.request_router_refresh("limits were given")
            await self._host.sleep(INTERVAL_S)
