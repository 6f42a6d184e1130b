"""`StreamDialer` on asyncio: both IP versions raced (RFC 8305), sockets marked to bypass the tunnel, TLS by policy.

An HTTP proxy is asked for the connection where the rules say so (`appliance.drivers.proxy`).
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from appliance.drivers.certificates import CertificateFields, parse_certificate
from appliance.drivers.privileges import may_mark_sockets
from appliance.drivers.proxy import ProxyRules, open_tunnel
from appliance.drivers.resolver import SystemResolver
from appliance.drivers.sockets import BYPASS_MARK as BYPASS_MARK
from appliance.drivers.sockets import OpenSocket, marking, open_socket
from appliance.ports.resolver import Resolver
from appliance.ports.streams import TlsPolicy
from appliance.types.addresses import Address, literal
from appliance.types.errors import DecodeError

ATTEMPT_DELAY_S = 0.25
"""Wait before the next address is tried beside the first (RFC 8305 section 5)."""
_META_NAME = "derpkey"


class SocketStream:
    """`ByteStream` on an asyncio connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._certificates = _presented(writer)

    async def read(self, limit: int = 65536) -> bytes:
        return await self._reader.read(limit)

    def write(self, data: bytes) -> None:
        if data and not self._writer.transport.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def queued_bytes(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    def close(self) -> None:
        self._writer.transport.abort()

    def peer_certificates(self) -> tuple[bytes, ...]:
        return self._certificates

    @property
    def local_ip(self) -> str:
        name = self._writer.get_extra_info("sockname")
        return str(name[0]).partition("%")[0] if name else ""


class SocketDialer:
    """`StreamDialer` of the host. `mark` None marks sockets where the process may."""

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        mark: int | None = None,
        proxies: ProxyRules | None = None,
        sockets: OpenSocket = open_socket,
        wall_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._resolver: Resolver = resolver or SystemResolver()
        self._proxies = proxies or ProxyRules()
        usual = BYPASS_MARK if may_mark_sockets() else 0
        self._sockets = marking(usual if mark is None else mark, sockets)
        self._wall_now = wall_now

    async def dial(
        self, host: str, port: int, *, tls: TlsPolicy | None = None, timeout_s: float = 10.0
    ) -> SocketStream:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._open(await self._reach(host, port, is_tls=tls is not None), host, tls)
        except TimeoutError as error:
            raise TimeoutError(f"{host}:{port} did not answer within {timeout_s:g} s") from error

    async def _reach(self, host: str, port: int, *, is_tls: bool) -> socket.socket:
        """A connection to the server, perhaps through a proxy, which resolves the name itself."""
        proxy = self._proxies.choose(host, port, tls=is_tls)
        if proxy is None:
            return await self.connect(await self._resolver.resolve(host), port)
        sock = await self.connect(await self._resolver.resolve(proxy.host), proxy.port)
        try:
            await open_tunnel(sock, proxy, host, port)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _open(self, sock: socket.socket, host: str, tls: TlsPolicy | None) -> SocketStream:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _notice_dead_servers(sock)
            if tls is None:
                return SocketStream(*await asyncio.open_connection(sock=sock))
            name = tls.server_name or host
            reader, writer = await asyncio.open_connection(sock=sock, ssl=_context(tls), server_hostname=name)
        except ValueError as error:
            sock.close()
            if isinstance(error, OSError):  # certificate errors are both
                raise
            raise OSError(f"not a server name: {(tls.server_name if tls else '') or host!r}") from error
        except BaseException:
            sock.close()
            raise
        stream = SocketStream(reader, writer)
        try:
            self._check(stream, writer, host, tls)
        except OSError:
            stream.close()
            raise
        return stream

    def _check(self, stream: SocketStream, writer: asyncio.StreamWriter, host: str, tls: TlsPolicy) -> None:
        """What the TLS library does not check for us. Raises `ssl.SSLCertVerificationError`."""
        if tls.pin_sha256:
            check_pin(stream.peer_certificates(), tls.pin_sha256, tls.server_name or host, self._wall_now())
        elif tls.verify and tls.verify_name:
            leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if not _fields(leaf).is_for(tls.verify_name):
                raise ssl.SSLCertVerificationError(f"the certificate is not for {tls.verify_name}")

    async def connect(self, addresses: Sequence[Address], port: int) -> socket.socket:
        """A TCP connection to the first address that answers; each further one starts after a delay or when one before
        it failed. Raises OSError."""
        waiting = list(_interleaved(addresses))
        attempts: set[asyncio.Task[socket.socket]] = set()
        failures: list[str] = []
        try:
            while waiting or attempts:
                if waiting:
                    attempts.add(asyncio.ensure_future(self._attempt(waiting.pop(0), port)))
                done, attempts = await asyncio.wait(
                    attempts, timeout=ATTEMPT_DELAY_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    error = attempt.exception()
                    if error is None:
                        _discard(done - {attempt})
                        return attempt.result()
                    failures.append(str(error))
        finally:
            await _abandon(attempts)
        raise ConnectionError("; ".join(dict.fromkeys(failures)) or "the name has no address")

    async def _attempt(self, address: Address, port: int) -> socket.socket:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        sock = self._sockets(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"{address} port {port}: {error.strerror or error}") from error
        except BaseException:
            sock.close()
            raise
        return sock


def _notice_dead_servers(sock: socket.socket) -> None:
    """A server that vanished is noticed in about a minute, also while nothing is said for long (a waiting login)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def check_pin(chain: Sequence[bytes], pin_sha256: str, host: str, wall_now: datetime) -> None:
    """Accept the one certificate with this hash, for this host, within its dates (derp spec 5.3).

    Certificates whose common name starts with `derpkey` are skipped; besides them exactly one must be presented.
    """
    leaves = [(der, _fields(der)) for der in chain]
    leaves = [(der, fields) for der, fields in leaves if not fields.common_name.startswith(_META_NAME)]
    if len(leaves) != 1:
        raise ssl.SSLCertVerificationError(f"expected one pinned certificate, the server presented {len(leaves)}")
    der, fields = leaves[0]
    if hashlib.sha256(der).hexdigest() != pin_sha256.lower():
        raise ssl.SSLCertVerificationError("the certificate is not the pinned one")
    if not fields.not_before <= wall_now <= fields.not_after:
        raise ssl.SSLCertVerificationError("the pinned certificate is outside its dates; check the clock")
    if not literal(host) and not fields.is_for(host):
        raise ssl.SSLCertVerificationError(f"the pinned certificate is not for {host}")


def _fields(der: bytes) -> CertificateFields:
    try:
        return parse_certificate(der)
    except DecodeError as error:
        raise ssl.SSLCertVerificationError(f"unreadable certificate: {error.text}") from error


def _context(tls: TlsPolicy) -> ssl.SSLContext:
    trusted = tls.verify and not tls.pin_sha256
    return _made_context(trusted, trusted and not tls.verify_name, tls.ca_file if trusted else "")


@lru_cache(maxsize=8)
def _made_context(verify: bool, check_name: bool, ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()  # TLS 1.2 and newer, the system's CAs, no ALPN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = check_name
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def ca_file_problem(path: str) -> str:
    """Why a file cannot serve as a CA, or ""."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return "it holds no certificate in PEM form"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _presented(writer: asyncio.StreamWriter) -> tuple[bytes, ...]:
    """All certificates that the server sent, in order. The call is public since Python 3.13, one level down before."""
    tls: Any = writer.get_extra_info("ssl_object")
    if tls is None:
        return ()
    if hasattr(tls, "get_unverified_chain"):
        return tuple(tls.get_unverified_chain())
    chain = tls._sslobj.get_unverified_chain() or ()
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain)


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Alternate the IP versions, beginning with the resolver's first choice (RFC 8305 section 4)."""
    if not addresses:
        return []
    first = [address for address in addresses if address.version == addresses[0].version]
    other = [address for address in addresses if address.version != addresses[0].version]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


async def _abandon(attempts: set[asyncio.Task[socket.socket]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    if attempts:
        await asyncio.gather(*attempts, return_exceptions=True)
    _discard(attempts)


def _discard(attempts: set[asyncio.Task[socket.socket]]) -> None:
    """Close the sockets of attempts that succeeded too late."""
    for attempt in attempts:
        if not attempt.cancelled() and attempt.exception() is None:
            attempt.result().close()
