"""Pings of every kind to a peer, for people and for control (control-protocol spec 17).

`disco` asks the path layer, `TSMP` the peer's daemon through the tunnel, `ICMP` its host, `peerapi` its HTTP server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from appliance.daemon.tsmp import TsmpService
from appliance.magicsock.errors import PingTimeoutError, UnknownPeerError
from appliance.netmap.store import NetmapView
from appliance.peerapi.probe import ProbeFailedError, probe
from appliance.ports.clock import Clock
from appliance.ports.streams import StreamDialer
from appliance.proto.control import messages as wire
from appliance.proto.peerapi import peer_endpoint
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import ApplianceError
from appliance.types.events import PathKind
from appliance.types.ids import RegionId
from appliance.types.netmap import Node

if TYPE_CHECKING:
    from appliance.magicsock.service import MagicsockService

log = structlog.get_logger("pings")

CONTROL_TIMEOUT_S = 10.0
MAX_TYPES = 8
KINDS = ("disco", "TSMP", "ICMP", "peerapi")


class UnknownPingError(ApplianceError):
    """A kind of ping that this node does not do."""

    code = "unknown-ping"


class EchoFailedError(ApplianceError):
    """The peer's host does not echo, or we may not ask it."""

    code = "icmp"


IcmpPing = Callable[[Address, float], Awaitable[float]]
"""(address, seconds to wait) -> latency. Raises OSError, `TimeoutError` among them."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """One answer, and the path that it took as far as that is known."""

    latency_s: float
    via: PathKind = PathKind.NONE
    endpoint: AddrPort | None = None
    region: RegionId | None = None
    peerapi_port: int = 0


class PeerPinger:
    """`dialer` must reach into the tunnel."""

    def __init__(
        self,
        magicsock: MagicsockService,
        tsmp: TsmpService,
        dialer: StreamDialer,
        icmp: IcmpPing,
        view: Callable[[], NetmapView | None],
        clock: Clock,
    ) -> None:
        self._magicsock = magicsock
        self._tsmp = tsmp
        self._dialer = dialer
        self._icmp = icmp
        self._view = view
        self._clock = clock

    async def ping(self, peer: Node, kind: str, timeout_s: float) -> Pinged:
        """Raises `ApplianceError` when no answer comes."""
        if kind == "disco":
            return await self._disco(peer, timeout_s)
        if kind == "TSMP":
            answer = await self._tsmp.ping(peer, timeout_s)
            return self._by_path(peer, answer.latency_s, answer.peerapi_port)
        if kind == "ICMP":
            return self._by_path(peer, await self._echo(peer, timeout_s), 0)
        if kind == "peerapi":
            endpoint = self._peerapi_of(peer)
            latency_s = await probe(self._dialer, endpoint, self._clock, timeout_s)
            return self._by_path(peer, latency_s, endpoint.port)
        raise UnknownPingError(f"this node does no {kind} pings", mend=f"it does: {', '.join(KINDS)}")

    async def _disco(self, peer: Node, timeout_s: float) -> Pinged:
        """The path layer knows keys only; people know names."""
        try:
            result = await self._magicsock.ping(peer.key, timeout_s)
        except PingTimeoutError as error:
            text = f"no answer from {peer.short_name} within {timeout_s:g} s"
            raise PingTimeoutError(text, mend=error.mend) from None
        except UnknownPeerError as error:
            if peer.expired:
                text = f"the login of {peer.short_name} has expired"
                raise UnknownPeerError(text, mend=f"log in again on {peer.short_name}") from None
            raise UnknownPeerError(f"{peer.short_name} cannot be pinged now", mend=error.mend) from None
        return Pinged(result.latency_s, result.via, result.endpoint, result.region)

    async def _echo(self, peer: Node, timeout_s: float) -> float:
        view = self._view()
        own = view.self_node if view is not None else None
        shared = [p.network_address for p in peer.addresses if own is not None and own.address(p.version) is not None]
        if not shared:
            raise EchoFailedError(f"{peer.short_name} and this node have no IP version in common")
        try:
            return await self._icmp(shared[0], timeout_s)
        except TimeoutError:
            raise EchoFailedError(f"no echo from the host of {peer.short_name} within {timeout_s:g} s") from None
        except OSError as error:
            text = f"no echo can be sent to {peer.short_name}: {error.strerror or error}"
            raise EchoFailedError(text, mend="give waypostd CAP_NET_RAW") from error

    def _peerapi_of(self, peer: Node) -> AddrPort:
        view = self._view()
        own = view.self_node if view is not None else None
        endpoint = peer_endpoint(own, peer) if own is not None else None
        if endpoint is None:
            raise ProbeFailedError(f"{peer.short_name} offers no peer API")
        return endpoint

    def _by_path(self, peer: Node, latency_s: float, peerapi_port: int) -> Pinged:
        """The path that the tunnel uses now is the one that the answer took."""
        path = self._magicsock.status(peer.key)
        if path is None:
            return Pinged(latency_s, peerapi_port=peerapi_port)
        region = path.region if path.endpoint is None else None
        return Pinged(latency_s, path.kind, path.endpoint, region, peerapi_port)

    async def answer_control(self, request: wire.PingRequest) -> tuple[wire.PingResponse, ...]:
        """`ControlSettings.peer_ping`: an answer per kind, with `Err` where none came; none for a node unknown here."""
        view = self._view()
        try:
            peer = view.peer_by_address(ip_address(request.ip)) if view is not None else None
        except ValueError:
            peer = None
        if view is None or peer is None:
            log.info("control asks for a ping of a node that is unknown here", ip=request.ip)
            return ()
        kinds = [kind.strip() for kind in request.types.split(",")][:MAX_TYPES]
        return tuple([await self._response(view, peer, request.ip, kind) for kind in kinds])

    async def _response(self, view: NetmapView, peer: Node, ip: str, kind: str) -> wire.PingResponse:
        node_ip = str(peer.addresses[0].network_address) if peer.addresses else ""
        known = wire.PingResponse(type=kind, ip=ip, node_ip=node_ip, node_name=peer.name.rstrip("."))
        try:
            pinged = await self.ping(peer, kind, CONTROL_TIMEOUT_S)
        except ApplianceError as error:
            known.err = error.text
            return known
        region = view.derp_map.regions.get(pinged.region) if pinged.region else None
        known.latency_seconds = pinged.latency_s
        known.endpoint = str(pinged.endpoint or "")
        known.derp_region_id = pinged.region or 0
        known.derp_region_code = region.code if region is not None else ""
        known.peer_api_port = pinged.peerapi_port
        return known
