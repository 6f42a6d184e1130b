"""STUN servers of the DERP map as addresses, for plugins that ask from ports of their own."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from appliance.magicsock.netcheck.plan import DEFAULT_STUN_PORT
from appliance.magicsock.service import resolve_by_host
from appliance.types.addresses import Address, addr_port_from

if TYPE_CHECKING:
    from appliance.types.ids import RegionId
    from appliance.types.netmap import DerpMap, DerpNode

MAX_NODES = 4


async def stun_servers(derp_map: DerpMap, home: RegionId) -> tuple[str, ...]:
    """As "ip:port", the home region's first; of a few nodes only."""
    regions = sorted(derp_map.regions.values(), key=lambda region: (region.id != home, region.id))
    nodes = [node for region in regions for node in region.nodes if node.stun_port >= 0][:MAX_NODES]
    found: dict[str, None] = {}
    for node in nodes:
        for address in await _addresses(node):
            found[str(addr_port_from(address, node.stun_port or DEFAULT_STUN_PORT))] = None
    return tuple(found)


async def _addresses(node: DerpNode) -> list[Address]:
    literals: list[Address] = []
    for text in (node.ipv4, node.ipv6):
        try:
            literals.append(ip_address(text))
        except ValueError:
            continue  # empty, or "none": the map says that there is none
    return literals or list(await resolve_by_host(node.host_name))
