"""Byte streams toward servers (control, DERP): dialling with an explicit TLS policy, and the in-memory twin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """How a TLS connection is made and checked.

    `server_name` is sent as SNI (empty for an IP literal) and verified unless `verify_name` replaces it. `pin_sha256`
    is the SHA-256 (hex) of the one accepted leaf: no CA check (derp spec 5.3, sha256-raw). `verify=False` accepts any
    certificate (the ts2021 race, where Noise authenticates the server). `ca_file` adds a private CA. No ALPN is
    offered.
    """

    server_name: str
    verify_name: str = ""
    pin_sha256: str = ""
    verify: bool = True
    ca_file: str = ""


class ByteStream(Protocol):
    """An open connection."""

    async def read(self, limit: int = 65536) -> bytes:
        """At least one byte, b"" at the end. Raises OSError."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes; order is kept. After a failure the next read raises."""
        ...

    async def drain(self) -> None:
        """Wait until the queue is small. Raises OSError."""
        ...

    def queued_bytes(self) -> int:
        """Bytes written and not yet handed to the kernel."""
        ...

    def close(self) -> None:
        """Drop the connection at once."""
        ...

    def peer_certificates(self) -> tuple[bytes, ...]:
        """DER of all certificates that the server presented, leaf first; empty without TLS."""
        ...

    @property
    def local_ip(self) -> str: ...


class StreamDialer(Protocol):
    async def dial(self, host: str, port: int, *, tls: TlsPolicy | None = None, timeout_s: float = 10.0) -> ByteStream:
        """Connect by TCP to a name or address (IPv4 and IPv6 raced) and, with `tls`, shake hands. Raises OSError."""
        ...


class MemoryStream:
    """One end of an in-memory connection; made in pairs by `memory_pair`."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""
        self._ended = False
        self.other: MemoryStream | None = None
        self.certificates: tuple[bytes, ...] = ()

    async def read(self, limit: int = 65536) -> bytes:
        if not self._rest and not self._ended:
            self._rest = await self._incoming.get()
            self._ended = not self._rest
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    def write(self, data: bytes) -> None:
        if self.other is not None and data:
            self.other._incoming.put_nowait(bytes(data))

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def queued_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self._ended = True
        self._incoming.put_nowait(b"")
        if self.other is not None:
            self.other._incoming.put_nowait(b"")
            self.other = None

    def peer_certificates(self) -> tuple[bytes, ...]:
        return self.certificates

    @property
    def local_ip(self) -> str:
        return "127.0.0.1"


def memory_pair() -> tuple[MemoryStream, MemoryStream]:
    """Two joined ends."""
    first, second = MemoryStream(), MemoryStream()
    first.other, second.other = second, first
    return first, second


class MemoryDialer:
    """The twin of `StreamDialer`: servers are coroutines registered by (host, port)."""

    def __init__(self) -> None:
        self.servers: dict[tuple[str, int], Callable[[MemoryStream], Awaitable[None]]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.dialled: list[tuple[str, int, TlsPolicy | None]] = []

    async def dial(
        self, host: str, port: int, *, tls: TlsPolicy | None = None, timeout_s: float = 10.0
    ) -> MemoryStream:
        self.dialled.append((host, port, tls))
        server = self.servers.get((host, port))
        if server is None:
            raise ConnectionRefusedError(f"nothing listens on {host}:{port}")
        ours, theirs = memory_pair()
        task = asyncio.ensure_future(server(theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ours
