"""An aiohttp connector whose connections go through the mesh."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler

from appliance.types.errors import ApplianceError

if TYPE_CHECKING:
    import socket


class Dialer(Protocol):
    async def dial(self, host: str, port: int, *, timeout_s: float = 30.0) -> socket.socket: ...


class MeshConnector(aiohttp.BaseConnector):
    """For `aiohttp.ClientSession(connector=...)`. Hosts are names or addresses of peers; https is checked as usual.

    Failures are `aiohttp.ClientConnectionError`, as with every connector.
    """

    def __init__(self, node: Dialer, **options: Any) -> None:
        """`options` are those of `aiohttp.BaseConnector` (limits, keep-alive)."""
        super().__init__(**options)
        self._node = node

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        host = req.url.raw_host or ""
        port = req.url.port or (443 if req.is_ssl() else 80)
        limit = timeout.sock_connect or timeout.connect or timeout.total or 30.0
        try:
            sock = await self._node.dial(host, port, timeout_s=limit)
        except ApplianceError as error:
            raise aiohttp.ClientConnectionError(error.line()) from error
        try:
            context = _context(req) if req.is_ssl() else None
            _, protocol = await asyncio.get_running_loop().create_connection(
                self._factory, sock=sock, ssl=context, server_hostname=host if context is not None else None
            )
        except OSError as error:
            sock.close()
            raise aiohttp.ClientConnectionError(f"{host}:{port}: {error}") from error
        except BaseException:
            sock.close()
            raise
        assert isinstance(protocol, ResponseHandler)
        return protocol


def _context(req: aiohttp.ClientRequest) -> ssl.SSLContext:
    """As asked for with `ssl=`: a context, True (checked), False (not checked)."""
    wanted = req.ssl
    if isinstance(wanted, ssl.SSLContext):
        return wanted
    context = ssl.create_default_context()
    if wanted is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
