"""Joins the port mapper to the host's links, the engine's port and path finding."""

from __future__ import annotations

import structlog

from appliance.crypto.hashes import mac16
from appliance.daemon.parts import DataPlane, HostLinks
from appliance.drivers.privileges import may_mark_sockets
from appliance.drivers.router_udp import open_router_ports
from appliance.drivers.streams import BYPASS_MARK, SocketDialer
from appliance.magicsock.service import MagicsockService
from appliance.magicsock.status import PortMappingSeen
from appliance.portmap.mapping import Kind, PortMapping
from appliance.portmap.service import PortMappingService
from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.ports.randomness import Randomness
from appliance.types.events import BackendState, BackendStateChanged, LinkChanged

log = structlog.get_logger("waypostd")

_KINDS = {
    "auto": tuple(Kind),
    "off": (),
    "pcp": (Kind.PCP,),
    "nat-pmp": (Kind.NAT_PMP,),
    "upnp": (Kind.UPNP,),
}
_IN_A_MESH = (BackendState.STARTING, BackendState.RUNNING)


def make_port_mapping(
    setting: str,
    links: HostLinks,
    engine: DataPlane,
    magicsock: MagicsockService,
    clock: Clock,
    randomness: Randomness,
) -> PortMappingService:
    """`setting` as `[paths] port_mapping` spells it. The disco key, which a restart keeps, makes the nonces of PCP."""
    mark = BYPASS_MARK if may_mark_sockets() else 0
    return PortMappingService(
        lambda: open_router_ports(mark),
        SocketDialer(),
        clock,
        randomness,
        kinds=_KINDS[setting],
        place=links.router_place,
        local_port=lambda: next((port.port for port in engine.local_ports() if not port.is_v6), 0),
        on_change=_Teller(magicsock).tell,
        nonce_of=lambda place: mac16(magicsock.disco_private_key.reveal(), b"pcp nonce", place),
    )


class _Teller:
    """Hands every result over and logs what is new to a person; renewals are not."""

    def __init__(self, magicsock: MagicsockService) -> None:
        self._magicsock = magicsock
        self._said = ""

    def tell(self, result: PortMapping) -> None:
        mapping = result.mapping
        said = f"{mapping.external} by {mapping.kind}" if mapping is not None else result.error
        if said and said != self._said:
            log.info("the router maps a port" if mapping is not None else "the router maps no port", what=said)
        self._said = said or self._said
        self._magicsock.set_port_mapping(seen_of(result))


def follow(bus: EventBus, service: PortMappingService) -> None:
    """A port is open only while this node is in a mesh; another network means another router."""
    bus.subscribe(LinkChanged, lambda _event: service.refresh())
    bus.subscribe(BackendStateChanged, lambda event: service.set_wanted(event.state in _IN_A_MESH))


def seen_of(result: PortMapping) -> PortMappingSeen:
    """In the words of path finding."""
    external = result.mapping.external if result.mapping is not None else None
    if result.seen is None:
        return PortMappingSeen(external)
    seen = result.seen
    return PortMappingSeen(external, upnp=Kind.UPNP in seen, pmp=Kind.NAT_PMP in seen, pcp=Kind.PCP in seen)
