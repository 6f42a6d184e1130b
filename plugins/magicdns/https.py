"""DNS over HTTPS (RFC 8484) toward resolvers, and over HTTP toward the peer API of a node (apps spec 1.5)."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.upstream import Kind, Upstream

if TYPE_CHECKING:
    import socket

TYPE = "application/dns-message"
MAX_BYTES = 65535
IDLE_S = 10.0


class _Addresses(AbstractResolver):
    """Never the host's own resolver, which may be ourselves."""

    def __init__(self, resolve: Callable[[str], Awaitable[str]]) -> None:
        self._resolve = resolve
        self.fixed: dict[str, str] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = 0,  # type: ignore[assignment]  # 0 is any
    ) -> list[ResolveResult]:
        address = self.fixed.get(host) or await self._resolve(host)
        kind = 10 if ":" in address else 2
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        self.fixed.clear()


class HttpsClient:
    """Keeps connections for a while. Raises `UpstreamError` and OSError."""

    def __init__(self, resolve: Callable[[str], Awaitable[str]]) -> None:
        self._addresses = _Addresses(resolve)
        connector = aiohttp.TCPConnector(resolver=self._addresses, keepalive_timeout=IDLE_S, limit_per_host=8)
        self._session = aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def post(self, upstream: Upstream, message: bytes, context: ssl.SSLContext | None) -> bytes:
        host = upstream.server_name or upstream.address
        if upstream.address and upstream.server_name and upstream.address != upstream.server_name:
            self._addresses.fixed[host] = upstream.address
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if upstream.kind is Kind.HTTPS else "http"
        url = f"{scheme}://{shown}:{upstream.port}{upstream.path}"
        headers = {"Accept": TYPE, "Content-Type": TYPE}
        try:
            async with self._session.post(
                url, data=message, headers=headers, allow_redirects=False, ssl=context or True
            ) as response:
                if response.status != 200:
                    raise UpstreamError(f"{upstream} answers with HTTP {response.status}")
                if response.content_type != TYPE:
                    raise UpstreamError(f"{upstream} answers with {response.content_type[:60]}, not with DNS")
                data = await response.content.read(MAX_BYTES + 1)
                while not response.content.at_eof() and len(data) <= MAX_BYTES:
                    data += await response.content.read(MAX_BYTES + 1 - len(data))
        except aiohttp.ClientError as error:
            raise UpstreamError(f"{upstream}: {str(error)[:200]}") from error
        if not 12 <= len(data) <= MAX_BYTES:
            raise UpstreamError(f"{upstream} sends {len(data)} bytes, which is no DNS message")
        return data

    async def close(self) -> None:
        await self._session.close()
