"""`/bootstrap-dns`: addresses of names that nodes with broken DNS need, above all the control server's (spec 5.2)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from control.derp.endpoints import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.ports.randomness import Randomness
    from appliance.ports.resolver import Resolver
    from appliance.proto.http1.head import RequestHead

PATH = "/bootstrap-dns"
REFRESH_S = 600.0
_log = logging.getLogger(__name__)


class BootstrapDns:
    """Publishes these names only; what a request asks for in `q` changes nothing."""

    def __init__(self, names: Iterable[str], resolver: Resolver, randomness: Randomness) -> None:
        self._names = tuple(names)
        self._resolver = resolver
        self._randomness = randomness
        self._found: dict[str, list[str]] = {}

    async def run(self) -> None:
        """Look up anew every ten minutes; a name that fails keeps its last addresses."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        for name in self._names:
            try:
                self._found[name] = [str(address) for address in await self._resolver.resolve(name)]
            except OSError as error:
                _log.warning("%s cannot be resolved: %s", name, error)

    def page(self, head: RequestHead) -> Reply:
        if head.method not in ("GET", "HEAD"):
            return Reply(405, (("Allow", "GET, HEAD"),), b"bogus method\n")
        for addresses in self._found.values():
            self._randomness.shuffle(addresses)
        return Reply(200, (("Content-Type", "application/json"),), json.dumps(self._found).encode())
