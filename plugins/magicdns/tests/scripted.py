"""An upstream resolver that does what a test says: answers, is slow, lies, cuts, refuses; by UDP and TCP."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from appliance.crypto.certificates import self_signed


def certificate_file(folder: Path, name: str) -> Path:
    """A self-signed certificate for `name` and its key, in one file."""
    now = datetime.now(UTC)
    pair = self_signed([name], now - timedelta(days=1), now + timedelta(days=1), hashlib.sha384(name.encode()).digest())
    path = folder / "both.pem"
    path.write_bytes(pair.certificate_pem + pair.private_key_pem)
    return path


Zone = dict[tuple[str, str], tuple[str, ...]]


@dataclass
class Scripted(asyncio.DatagramProtocol):
    """`zone` maps (name, type) to values; `change` may replace a reply's bytes, None sends nothing."""

    zone: Zone = field(default_factory=dict)
    ttl: int = 60
    change: Callable[[bytes, bool], bytes | None] = lambda wire, _stream: wire
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    """Name as it was spelled, type, whether by TCP."""
    port: int = 0
    hold: asyncio.Event | None = None
    """Replies wait for it."""
    rcode: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self.change(self.reply(data, stream=False), False)
        if reply is not None and self.hold is None:
            self._transport.sendto(reply, addr)
        elif reply is not None:
            self._group.create_task(self._later(reply, addr))

    async def _later(self, reply: bytes, addr: tuple[str, int]) -> None:
        assert self.hold is not None
        await self.hold.wait()
        self._transport.sendto(reply, addr)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            reply = self.change(self.reply(await reader.readexactly(length), stream=True), True)
            if reply is not None:
                writer.write(struct.pack(">H", len(reply)) + reply)
                await writer.drain()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    def reply(self, data: bytes, *, stream: bool) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, rtype = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name.rstrip("."), rtype, stream))
        reply = dns.message.make_response(query, recursion_available=True)
        reply.set_rcode(dns.rcode.Rcode(self.rcode))
        owner = name.rstrip(".").lower()
        while (alias := self.zone.get((owner, "CNAME"))) and rtype != "CNAME":
            reply.answer.append(dns.rrset.from_text(owner + ".", self.ttl, "IN", "CNAME", *alias))
            owner = alias[0].rstrip(".")
        if values := self.zone.get((owner, rtype)):
            reply.answer.append(dns.rrset.from_text(owner + ".", self.ttl, "IN", rtype, *values))
        elif not reply.answer and not self.rcode:
            known = any(each == owner for each, _ in self.zone)
            reply.set_rcode(dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN)
            soa = "ns.example. x.example. 1 2 3 4 30"
            reply.authority.append(dns.rrset.from_text("example.", 40, "IN", "SOA", soa))
        return reply.to_wire(max_size=65535)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Scripted]:
        """Both transports at one port of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self.converse, "127.0.0.1", 0, family=socket.AF_INET)
        self.port = server.sockets[0].getsockname()[1]
        transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", self.port))
        try:
            async with asyncio.TaskGroup() as self._group:
                yield self
                if self.hold is not None:
                    self.hold.set()
        finally:
            transport.close()
            server.close()


def cut_datagrams(wire: bytes, stream: bool) -> bytes:
    """Datagrams say that they were too long."""
    if stream:
        return wire
    flags = struct.unpack_from(">H", wire, 2)[0] | dns.flags.TC
    return wire[:2] + struct.pack(">H", flags) + wire[4:]
