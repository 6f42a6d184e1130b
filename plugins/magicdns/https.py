"""DNS messages by HTTP/1.1: to resolvers that speak no HTTP/2, and to the peer API of a node."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from plugins.magicdns.doh import MAX_BYTES, TYPE, check_answer
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.kept import IDLE_S
from plugins.magicdns.reach import Resolve
from plugins.magicdns.trust import untrusted
from plugins.magicdns.upstream import Kind, Upstream

if TYPE_CHECKING:
    import socket


class _Addresses(AbstractResolver):
    """Never the host's own resolver, which may be ourselves."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.fixed: dict[str, str] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = 0,  # type: ignore[assignment]  # 0 is any
    ) -> list[ResolveResult]:
        fixed = self.fixed.get(host)
        return [
            ResolveResult(hostname=host, host=each, port=port, family=10 if ":" in each else 2, proto=0, flags=0)
            for each in ((fixed,) if fixed else await self._resolve(host))
        ]

    async def close(self) -> None:
        self.fixed.clear()


class HttpsClient:
    """Keeps connections for a while. Raises `UpstreamError` and OSError."""

    def __init__(self, resolve: Resolve) -> None:
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
                data = await response.content.read(MAX_BYTES + 1)
                while not response.content.at_eof() and len(data) <= MAX_BYTES:
                    data += await response.content.read(MAX_BYTES + 1 - len(data))
                check_answer(response.status, response.content_type, len(data))
                return data
        except aiohttp.ClientConnectorCertificateError as error:
            raise untrusted(error.certificate_error) from None
        except aiohttp.ClientError as error:
            raise UpstreamError(str(error)[:200]) from error

    async def close(self) -> None:
        await self._session.close()
