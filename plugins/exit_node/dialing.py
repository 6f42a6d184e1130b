"""Connections to the proxy, with what it granted on them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.types.errors import DecodeError
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proto import ConnectHandshake, SocksHandshake
from plugins.exit_node.proxies import Credentials, Proxy

ANSWER_S = 20.0
KEEPALIVE_S = 60
CHUNK = 65536
NO_UDP_BY_HTTP = "an HTTP proxy takes TCP alone"


@asynccontextmanager
async def granted(
    proxy: Proxy, made: SocksHandshake | ConnectHandshake
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which the proxy has granted what `made` asks for. Raises OSError (also as `ProxyRefusedError`),
    TimeoutError and `DecodeError`."""
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        notice_the_dead(writer)
        async with asyncio.timeout(ANSWER_S):
            writer.write(made.start())
            while not made.done:
                data = await reader.read(CHUNK)
                if not data:
                    raise ProxyRefusedError("the proxy closed the connection")
                writer.write(made.receive(data))
        yield reader, writer
    finally:
        writer.close()


async def probe(proxy: Proxy, credentials: Credentials | None) -> tuple[bool, str]:
    """Whether the proxy answers; and why it carries no UDP, "" where it does."""
    try:
        if proxy.is_socks:
            async with granted(proxy, SocksHandshake(None, credentials)):
                return True, ""
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.close()
    except (ProxyRefusedError, DecodeError) as error:
        return True, str(error)
    except (OSError, TimeoutError):
        return False, "the proxy does not answer"
    return True, NO_UDP_BY_HTTP


def notice_the_dead(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
