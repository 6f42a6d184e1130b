"""`Resolver` on the system's resolver (getaddrinfo, in the event loop's executor)."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from ipaddress import ip_address

from appliance.types.addresses import Address

MAX_KEPT = 256
_NO_ANSWER = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)
"""The resolver did not answer, as against a name that does not exist."""


class SystemResolver:
    """The host's /etc/hosts, resolv.conf and NSS.

    A name that cannot be looked up now has the addresses that it had last: the resolver may lie behind an exit that is
    lost, and the control server must be reached nevertheless.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[Address, ...]] = OrderedDict()

    async def resolve(self, host: str) -> tuple[Address, ...]:
        try:
            return (ip_address(host),)
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, f"not a host name: {host[:64]!r}") from error
        except socket.gaierror as error:
            if error.errno not in _NO_ANSWER or host not in self._last:
                raise
            return self._last[host]
        texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
        addresses = tuple(ip_address(text) for text in texts)
        self._keep(host, addresses)
        return addresses

    def _keep(self, host: str, addresses: tuple[Address, ...]) -> None:
        self._last[host] = addresses
        self._last.move_to_end(host)
        if len(self._last) > MAX_KEPT:
            self._last.popitem(last=False)
