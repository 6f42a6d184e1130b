"""Which addresses a TCP listener binds so that `::` means both IP versions, as people expect; what comes in there.

asyncio binds an IPv6 wildcard to IPv6 alone, and a host may have IPv6 switched off. It does not end the connections of
a listener that closes.
"""

from __future__ import annotations

import asyncio
import socket
from weakref import WeakSet

ANY_V4 = "0.0.0.0"  # noqa: S104  # the wildcard by its name
ANY_V6 = "::"


def listen_hosts(ip: str) -> list[str]:
    """`ip` itself, or for `::` the wildcards of every IP version that this host has."""
    if ip != ANY_V6:
        return [ip]
    return [ANY_V4, ANY_V6] if _has_ipv6() else [ANY_V4]


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY_V6, 0))
    except OSError:
        return False
    return True


class Arrival(asyncio.Protocol):
    """A connection that may be handed over to another protocol."""

    made: asyncio.Transport | None = None
    """Its transport until it is lost."""


class Arrivals:
    """The connections of one or more listeners, each until it ends or another protocol has taken it over."""

    def __init__(self) -> None:
        self._there: WeakSet[Arrival] = WeakSet()
        self._closed = False

    def admit(self, arrival: Arrival) -> bool:
        """Whether a new connection may stay."""
        self._there.add(arrival)
        return not self._closed

    def close(self) -> None:
        """Drop them all, and those that still come. One that was offered for take-over and refused is among them."""
        self._closed = True
        for arrival in tuple(self._there):
            if arrival.made is not None and arrival.made.get_protocol() is arrival:
                arrival.made.abort()
