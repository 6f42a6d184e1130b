"""What people ask and the gateway only looks up or measures: version, netmap, ping, netcheck."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.daemon.applier import Situation
from appliance.daemon.hostinfo import VERSION
from appliance.daemon.mesh_services import MeshServices
from appliance.daemon.parts import Core
from appliance.daemon.path_reasons import reasons_of
from appliance.daemon.peer_lookup import NotConnectedError, find_peer
from appliance.daemon.peer_pings import EchoFailedError
from appliance.daemon.status import current_path, netcheck_report, path_of, plain_netmap
from appliance.localapi.schema import NetcheckReport, PingReply, PingRequest, VersionReply
from appliance.magicsock.errors import PingTimeoutError
from appliance.netmap.store import NetmapView
from appliance.peerapi.probe import ProbeFailedError
from appliance.portmap.mapping import PortMapping
from appliance.ports.packets import one
from appliance.types.errors import ApplianceError
from appliance.types.netmap import Node

MAX_PING_S = 60.0


class Queries:
    def __init__(self, core: Core, situation: Situation, mesh: MeshServices) -> None:
        self._core = core
        self._situation = situation
        self._pinger = mesh.pinger
        self._mesh = mesh

    def version(self) -> VersionReply:
        return VersionReply(version=VERSION, engine=self._core.engine.kind, pid=os.getpid())

    def netmap(self) -> dict[str, Any]:
        return plain_netmap(self._view())

    def counters(self) -> Mapping[str, int]:
        mapper = self._core.port_mapping
        mapping = mapper.counters() if mapper is not None else {}
        return {**self._core.engine.counters(), **self._core.magicsock.counters(), **mapping}

    def metrics(self) -> str:
        return self._mesh.metrics()

    async def ping(self, request: PingRequest) -> PingReply:
        view = self._view()
        node = find_peer(view, request.target)
        reply = await self._ping(view, node, request)
        status = self._core.magicsock.status(node.key) if request.explain else None
        if status is None:
            return reply
        current = current_path(view.derp_map, status)
        return msgspec.structs.replace(reply, reasons=reasons_of(status), current=current)

    async def _ping(self, view: NetmapView, node: Node, request: PingRequest) -> PingReply:
        address = str(node.addresses[0].network_address) if node.addresses else ""
        try:
            result = await self._pinger.ping(node, request.kind, min(max(request.timeout_s, 0.1), MAX_PING_S))
        except (PingTimeoutError, ProbeFailedError, EchoFailedError) as error:
            return PingReply(name=node.short_name, address=address, error=error.text)
        path = path_of(view.derp_map, result.via, result.endpoint, result.region, result.latency_s)
        return PingReply(name=node.short_name, address=address, path=path, peerapi_port=result.peerapi_port)

    async def netcheck(self) -> NetcheckReport:
        view = self._view()
        try:
            report, mapping = await asyncio.gather(self._core.magicsock.netcheck(), self._probe_router())
        except TimeoutError:
            mend = "is the gateway up? see waypost status"
            raise ApplianceError("the measurement did not end in time", mend=mend, code="netcheck") from None
        home = self._core.magicsock.home_region
        told = netcheck_report(report, view, home, self._core.clock.wall_now(), mapping)
        return msgspec.structs.replace(told, hairpinning=await self._hairpins())

    async def _hairpins(self) -> bool | None:
        """Asked from another port than the one whose outside address is tried."""
        try:
            ports = self._core.open_udp(0)
        except ApplianceError:
            return None
        try:
            asking = next((port for port in ports if not port.local.is_v6), None)
            if asking is None:
                return None
            return await self._core.magicsock.hairpins(lambda to, data: asking.send(to, one(data)))
        except OSError:
            return None
        finally:
            for port in ports:
                port.close()

    async def _probe_router(self) -> PortMapping:
        mapper = self._core.port_mapping
        return await mapper.probe() if mapper is not None else PortMapping()

    def _view(self) -> NetmapView:
        view = self._situation.view
        if view is None or view.self_node is None:
            raise NotConnectedError
        return view
