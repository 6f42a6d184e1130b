"""Names of underlay servers to addresses, and the in-memory twin."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

from appliance.types.addresses import Address


class Resolver(Protocol):
    async def resolve(self, host: str) -> tuple[Address, ...]:
        """Addresses in order of preference, both IP versions; an address literal gives itself. Raises OSError."""
        ...


@dataclass
class MemoryResolver:
    """The twin: names from a table."""

    names: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str) -> tuple[Address, ...]:
        self.asked.append(host)
        try:
            return (ip_address(host),)
        except ValueError:
            pass
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, f"no address for {host}")
        return self.names[host]
