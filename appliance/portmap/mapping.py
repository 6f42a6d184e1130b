"""What is asked of a router and what it gave: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from appliance.types.addresses import CGNAT_V4, Address, AddrPort

WANTED_LIFETIME_S = 7200
LABEL = "waypost"
"""How our mappings are called in a router's own list."""

_PRIVATE = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    CGNAT_V4,
)


class Kind(StrEnum):
    """Protocols toward the router, the one tried first in front."""

    PCP = "PCP"
    NAT_PMP = "NAT-PMP"
    UPNP = "UPnP"


@dataclass(frozen=True, slots=True)
class RouterPlace:
    """The router and our own address toward it."""

    router: IPv4Address
    own: IPv4Address


@dataclass(frozen=True, slots=True)
class Mapping:
    """`external` is what peers may send to. Times are monotonic seconds."""

    kind: Kind
    external: AddrPort
    internal_port: int
    granted_at: float
    lifetime_s: float

    @property
    def expires_at(self) -> float:
        return self.granted_at + self.lifetime_s


@dataclass(frozen=True, slots=True)
class PortMapping:
    """For path finding and people. `seen`: which protocols the router answers, None while that is unknown."""

    mapping: Mapping | None = None
    seen: frozenset[Kind] | None = None
    error: str = ""


def behind_router(router: Address | None, own: Address | None) -> RouterPlace | None:
    """None where there is nothing to ask: no IPv4 router, or one that is no private network's (we may be it)."""
    if not isinstance(router, IPv4Address) or not isinstance(own, IPv4Address):
        return None
    return RouterPlace(router, own) if is_inside(router) and is_inside(own) else None


def is_inside(address: IPv4Address) -> bool:
    """Whether it is of a private network or a provider's NAT."""
    return any(address in network for network in _PRIVATE)
