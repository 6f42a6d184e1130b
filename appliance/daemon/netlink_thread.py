"""`NetlinkPort` in a thread with a standard event loop: the netlink library opens endpoints that uvloop refuses.

Netlink calls are rare and short; the data plane's loop never waits for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from appliance.ports.netlink import InterfaceAddress, Link, NetlinkItem, NetlinkPort, PolicyRule, QueueTraffic, Route

T = TypeVar("T")


class ThreadedNetlink:
    """Passes every call to `port`, which is used in the thread only. The thread lives until `close`."""

    def __init__(self, port: NetlinkPort) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="netlink", daemon=True)
        self._thread.start()

    async def links(self) -> list[Link]:
        return await self._call(self._port.links())

    async def addresses(self, interface: str = "") -> list[InterfaceAddress]:
        return await self._call(self._port.addresses(interface))

    async def routes(self, table: int) -> list[Route]:
        return await self._call(self._port.routes(table))

    async def rules(self) -> list[PolicyRule]:
        return await self._call(self._port.rules())

    async def set_link(self, interface: str, *, up: bool | None = None, mtu: int | None = None) -> None:
        await self._call(self._port.set_link(interface, up=up, mtu=mtu))

    async def apply(self, remove: Sequence[NetlinkItem], add: Sequence[NetlinkItem]) -> None:
        await self._call(self._port.apply(remove, add))

    async def limit(self, interface: str, rates_kbit: Sequence[int]) -> bool:
        return await self._call(self._port.limit(interface, rates_kbit))

    async def queue_traffic(self, interface: str) -> dict[int, QueueTraffic]:
        return await self._call(self._port.queue_traffic(interface))

    async def close(self) -> None:
        """Safe to call twice."""
        if self._loop.is_closed():
            return
        await self._call(self._port.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
