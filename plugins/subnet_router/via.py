"""Pure: 4via6 (apps spec 7.7) as this router serves it, and the networks of IPv4 that routes stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from appliance.api import PacketDevice
from appliance.types.addresses import Prefix, known_prefix
from appliance.types.via import NOT_IN_SITES, via_label, via_parts

DEVICE = "waypost-4via6"
SMALLEST_POOL, LARGEST_POOL = 28, 16
"""Lengths of its prefix."""


@dataclass(frozen=True, slots=True)
class TranslationPlan:
    """What is to be translated: `served` are prefixes in 4via6 form, `pool` stands for the mesh's senders."""

    served: tuple[str, ...]
    pool: str

    @property
    def device(self) -> PacketDevice:
        return PacketDevice(DEVICE, (*self.served, self.pool), (self.pool,))

    @property
    def networks(self) -> tuple[IPv6Network, ...]:
        return tuple(IPv6Network(text) for text in self.served)


@dataclass(frozen=True, slots=True)
class TranslationView:
    """How the translator is doing: packets in each direction, those not translated by reason, senders that have an
    address of the pool, and how many may have one."""

    to_site: int = 0
    to_mesh: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    senders: int = 0
    capacity: int = 0
    refused: int = 0
    """Senders that found no address."""
    unsent: int = 0
    """Batches of which the kernel refused something."""


def plan(routes: Iterable[str], pool: str) -> TranslationPlan | None:
    """None: none of the routes needs it."""
    served = tuple(text for text in routes if via_parts(known_prefix(text)) is not None)
    return TranslationPlan(served, pool) if served else None


def lan_of(route: str) -> str:
    """The network of the site that a route leads to."""
    parts = via_parts(known_prefix(route))
    return str(parts[1]) if parts is not None else route


def unfit(network: IPv4Network) -> str:
    """Why no hosts of a site can be in that network; "" = they can."""
    found = next((each for each in NOT_IN_SITES if network.subnet_of(each)), None)
    return f"{network} lies in {found}" if found is not None else ""


def pool_problem(pool: Prefix, routes: Iterable[str]) -> str:
    """Why that prefix cannot be the pool; "" = it can."""
    if not isinstance(pool, IPv4Network) or not LARGEST_POOL <= pool.prefixlen <= SMALLEST_POOL:
        return f"needs an IPv4 prefix of /{LARGEST_POOL} to /{SMALLEST_POOL}"
    if unfit(pool) or pool.is_multicast:
        return "lies in addresses that are not routed"
    lans = (known_prefix(lan_of(route)) for route in routes)
    return next((f"overlaps {lan}" for lan in lans if lan.version == 4 and lan.overlaps(pool)), "")


def example_name(route: str) -> str:
    """How the first host of a route in 4via6 form is named."""
    prefix = IPv6Network(route)
    first = prefix.network_address if prefix.prefixlen >= 127 else prefix.network_address + 1
    return via_label(first) or ""
