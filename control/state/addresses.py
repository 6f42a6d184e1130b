"""Which overlay address comes next; pure (node-os spec 1.1, policy-and-management spec section 3).

Addresses are given in ascending order from the last one given, so that a freed one is not given again before the
whole pool has been used; or from a random place, so that they tell nothing of the order in which nodes joined.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

from appliance.types.addresses import CGNAT_V4, CHROMEOS_V4, SERVICE_V4, SERVICE_V6, ULA_V6, VIA_V6

A = TypeVar("A", IPv4Address, IPv6Address)

AUTO_4TO6 = IPv6Network("fd7a:115c:a1e0:ab12:4843:cd96:6200::/104")


class Pool(Generic[A]):
    """A range of addresses of one family without its ends and its reserved ranges."""

    def __init__(self, make: Callable[[int], A], first: int, last: int, reserved: tuple[tuple[int, int], ...]) -> None:
        self._make: Callable[[int], A] = make
        self._first = first
        self._last = last
        self._reserved = reserved

    def holds(self, address: A) -> bool:
        """Whether it may be given."""
        value = int(address)
        reserved = any(low <= value <= high for low, high in self._reserved)
        return self._first <= value <= self._last and not reserved

    def at(self, draw: int) -> A:
        """A place in the range for a random number; the address after it may be given."""
        return self._make(self._first - 1 + draw % (self._last - self._first + 1))

    def after(self, last_given: A | None) -> A | None:
        """The next address that may be given after `last_given` (None = none yet); None at the pool's end."""
        value = self._first if last_given is None else int(last_given) + 1
        for low, high in self._reserved:
            if low <= value <= high:
                value = high + 1
        return self._make(value) if self._first <= value <= self._last else None


def _bounds(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def pool_v4(network: IPv4Network = CGNAT_V4) -> Pool[IPv4Address]:
    """Without the ends of the network; of /31 and /32 every address."""
    first, last = _bounds(network)
    service = int(SERVICE_V4)
    if network.prefixlen >= 31:
        first, last = first - 1, last + 1
    return Pool(IPv4Address, first + 1, last - 1, ((service, service), _bounds(CHROMEOS_V4)))


def pool_v6(network: IPv6Network = ULA_V6) -> Pool[IPv6Address]:
    first, last = _bounds(network)
    service = int(SERVICE_V6)
    return Pool(IPv6Address, first + 1, last - 1, ((service, service), _bounds(VIA_V6), _bounds(AUTO_4TO6)))
