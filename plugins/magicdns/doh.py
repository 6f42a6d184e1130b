"""DNS over HTTPS (RFC 8484) toward resolvers, and over HTTP toward the peer API of a node (apps spec 1.5).

HTTP/2 where the resolver speaks it, as some do alone; else HTTP/1.1. A client is loaded only where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.magicdns.errors import NoHttp2Error, UpstreamError
from plugins.magicdns.reach import Resolve
from plugins.magicdns.trust import Trust
from plugins.magicdns.upstream import Kind, Upstream

if TYPE_CHECKING:
    from plugins.magicdns.http2 import Http2Client
    from plugins.magicdns.https import HttpsClient

TYPE = "application/dns-message"
MIN_BYTES, MAX_BYTES = 12, 65535


class DohClient:
    """Raises `UpstreamError` and OSError."""

    def __init__(self, resolve: Resolve, trust: Trust) -> None:
        self._resolve = resolve
        self._trust = trust
        self._http2: Http2Client | None = None
        self._https: HttpsClient | None = None
        self._old: set[Upstream] = set()
        """Those that speak no HTTP/2."""

    async def post(self, upstream: Upstream, message: bytes) -> bytes:
        if upstream.kind is Kind.HTTPS and upstream not in self._old:
            if self._http2 is None:
                from plugins.magicdns.http2 import Http2Client

                self._http2 = Http2Client(self._resolve, self._trust)
            try:
                return await self._http2.post(upstream, message)
            except NoHttp2Error:
                self._old.add(upstream)
        if self._https is None:
            from plugins.magicdns.https import HttpsClient

            self._https = HttpsClient(self._resolve)
        context = self._trust.context() if upstream.kind is Kind.HTTPS else None
        return await self._https.post(upstream, message, context)

    async def close(self) -> None:
        if self._http2 is not None:
            await self._http2.close()
        if self._https is not None:
            await self._https.close()
        self._http2 = self._https = None


def check_answer(status: int, kind: str, size: int) -> None:
    """`kind` is the content type, `size` the body's bytes. Raises `UpstreamError` where that is no DNS message."""
    if status != 200:
        raise UpstreamError(f"answers with HTTP {status}")
    if kind.partition(";")[0].strip().lower() != TYPE:
        raise UpstreamError(f"answers with {kind[:60] or 'nothing that is named'}, not with DNS")
    if not MIN_BYTES <= size <= MAX_BYTES:
        raise UpstreamError(f"sends {size} bytes, which is no DNS message")
