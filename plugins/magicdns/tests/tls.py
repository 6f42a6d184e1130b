"""Resolvers over TLS on loopback, with a certificate for `NAME`, and transports that trust it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from plugins.magicdns.transports import Transports

NAME = "dns.example"


@dataclass(kw_only=True)
class TlsServer:
    """What a server's conversations share: each keeps its transport in `connections` until it ends."""

    port: int = 0
    connections: list[asyncio.Transport] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Whenever a connection has come to its end."""


Served = TypeVar("Served", bound=TlsServer)


def server_context(certificate: Path, *protocols: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


@asynccontextmanager
async def serving_tls(
    server: Served, conversation: Callable[[Served], asyncio.Protocol], context: ssl.SSLContext
) -> AsyncIterator[Served]:
    """At the port that it had before, if any; leaves no connection behind."""
    loop = asyncio.get_running_loop()
    made = await loop.create_server(lambda: conversation(server), "127.0.0.1", server.port, ssl=context)
    server.port = made.sockets[0].getsockname()[1]
    yield server
    made.close()
    for each in server.connections:
        each.abort()
    while server.connections:
        server.ended.clear()
        await server.ended.wait()


async def here(_name: str) -> tuple[str, ...]:
    return "::1", "127.0.0.1"  # at the first nobody listens


@asynccontextmanager
async def transports(ca_file: Path | None) -> AsyncIterator[Transports]:
    made = Transports(here)
    made.trust.set_ca_file(str(ca_file or ""))
    yield made
    await made.close()
