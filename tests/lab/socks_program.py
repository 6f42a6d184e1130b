"""A SOCKS5 proxy for the lab: `socks_program.py PORT`; both IP versions, no credentials; prints each target."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

SIZES = {1: (4, socket.AF_INET), 4: (16, socket.AF_INET6)}


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\5\0")
        size, family = SIZES[(await reader.readexactly(4))[3]]
        host = socket.inet_ntop(family, await reader.readexactly(size))
        port = int.from_bytes(await reader.readexactly(2), "big")
        print("CONNECT", host, port, flush=True)
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.write(b"\5\5\0\1" + bytes(6))
            writer.close()
            return
        writer.write(b"\5\0\0\1" + bytes(6))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def main(port: str) -> None:
    server = await asyncio.start_server(serve, None, int(port))
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main(sys.argv[1]))
