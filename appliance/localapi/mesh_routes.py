"""The local API's part about the mesh. Whois reads only, so everyone may ask; sockets are for those who may change."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from appliance.localapi.mesh_schema import HandoutRequest, ListenRequest, WhoisReply
from appliance.localapi.schema import API
from appliance.types.errors import ApplianceError


class MeshBackend(Protocol):
    """Methods raise `ApplianceError`."""

    def whois(self, address: str) -> WhoisReply: ...

    async def hand_out(self, request: HandoutRequest) -> socket.socket:
        """Non-blocking; the caller closes it."""
        ...


@dataclass
class MemoryMesh:
    """The twin of `MeshBackend`: knows `peers` by address; its mesh is the loopback."""

    peers: dict[str, WhoisReply] = field(default_factory=dict)
    asked: list[object] = field(default_factory=list)
    refuse_with: ApplianceError | None = None

    def whois(self, address: str) -> WhoisReply:
        if address not in self.peers:
            raise ApplianceError(f"no peer has {address}", code="no-such-peer")
        return self.peers[address]

    async def hand_out(self, request: HandoutRequest) -> socket.socket:
        self.asked.append(request)
        if self.refuse_with is not None:
            raise self.refuse_with
        if isinstance(request, ListenRequest):
            made = socket.create_server((request.address or "127.0.0.1", request.port), family=_family(request.address))
        else:
            made = socket.create_connection(("127.0.0.1", request.port), request.timeout_s)
        made.setblocking(False)
        return made


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def mesh_routes(backend: MeshBackend, as_json: Callable[[Any], web.Response]) -> list[web.RouteDef]:
    """Rights and errors are the server's middleware's."""

    async def whois(request: web.Request) -> web.Response:
        return as_json(backend.whois(request.query.get("address", "")))

    return [web.get(f"{API}/whois", whois)]
