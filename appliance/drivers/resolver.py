"""`Resolver` on the system's resolver (getaddrinfo, in the event loop's executor)."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from appliance.drivers.marked_lookup import look_up, nameservers
from appliance.drivers.sockets import bypassing_socket
from appliance.ports.randomness import SystemRandomness
from appliance.types.addresses import Address

MAX_KEPT = 256
_NO_ANSWER = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)
"""The resolver did not answer, as against a name that does not exist."""


LookUp = Callable[[str], Awaitable[tuple[Address, ...]]]


async def _look_up_marked(host: str) -> tuple[Address, ...]:
    servers = await asyncio.to_thread(nameservers)
    return await look_up(host, servers, SystemRandomness(), bypassing_socket)


class SystemResolver:
    """The host's /etc/hosts, resolv.conf and NSS.

    When they do not answer, the network's resolvers are asked past the tunnel, and at last a name has the addresses
    that it had before: the ordinary way may lead through an exit that is lost, and the control server must be reached
    nevertheless.
    """

    def __init__(self, past_the_tunnel: LookUp | None = None) -> None:
        self._past_the_tunnel = past_the_tunnel or _look_up_marked
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
            if error.errno not in _NO_ANSWER:
                raise
            other = await self._past_the_tunnel(host) or self._last.get(host, ())
            if not other:
                raise
            self._keep(host, other)
            return other
        texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
        addresses = tuple(ip_address(text) for text in texts)
        self._keep(host, addresses)
        return addresses

    def _keep(self, host: str, addresses: tuple[Address, ...]) -> None:
        self._last[host] = addresses
        self._last.move_to_end(host)
        if len(self._last) > MAX_KEPT:
            self._last.popitem(last=False)
