"""The running part of limits: finds the peers that new ones name, and reads what each let pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from appliance.api import HostHandle, QueueTraffic
from plugins.subnet_router.shaping import NamedPeers

INTERVAL_S = 1.0


class LimitService:
    """Looks through all peers once after limits were given, for the netmap's changes tell of those only who change;
    `looked` is called then. While something is `limited`, `saw` gets the figures of all limits each second.
    """

    name = "limits"

    def __init__(
        self,
        host: HostHandle,
        named: NamedPeers,
        looked: Callable[[], None],
        limited: Callable[[], bool],
        saw: Callable[[Mapping[str, QueueTraffic]], None],
    ) -> None:
        self._host = host
        self._named = named
        self._looked = looked
        self._limited = limited
        self._saw = saw

    async def run(self) -> NoReturn:
        """Raises `ApplianceError` when the kernel tells no figures; the core tries again later."""
        while True:
            if self._named.is_stale:
                self._named.look((await self._host.netmap()).peers)
                self._looked()
                await self._host.request_router_refresh("limits were given")
            self._saw(await self._host.shape_traffic() if self._limited() else {})
            await self._host.sleep(INTERVAL_S)
