"""`Resolver` on the system's resolver (getaddrinfo, in the event loop's executor)."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from appliance.types.addresses import Address


class SystemResolver:
    """The host's /etc/hosts, resolv.conf and NSS."""

    async def resolve(self, host: str) -> tuple[Address, ...]:
        try:
            return (ip_address(host),)
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, f"not a host name: {host[:64]!r}") from error
        texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
        return tuple(ip_address(text) for text in texts)
