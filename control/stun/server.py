"""UDP STUN server on asyncio, a socket per IP version; answers leave from the address that was asked (8.2, 8.3).

Nodes are answered as fast as they ask; other clients of RFC 5389, such as test tools, a few a second in all: their
requests may be shorter than the answer, and come from a forged address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from functools import partial

from appliance.proto.stun import encode_response, parse_foreign_request, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, UnderlayError
from appliance.types.token_bucket import TokenBucket

DEFAULT_PORT = 3478
BATCH = 64
MAX_DATAGRAM = 1500
BUFFER_BYTES = 1 << 20
FOREIGN_RATE = 50.0
"""Answers a second to all clients together that are no nodes."""
FOREIGN_BURST = 100.0

_IP_PKTINFO = 8  # linux/in.h; the socket module does not name it
_V4_INFO = struct.Struct("=I4s4s")
_ANCILLARY = socket.CMSG_SPACE(20)


class StunServer:
    """Binding requests are answered, all else is counted and ignored."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._foreign = TokenBucket(FOREIGN_RATE, FOREIGN_BURST)
        self.answered = 0
        self.ignored: Counter[str] = Counter()
        self.port = 0

    async def listen(self, port: int = DEFAULT_PORT, *, ipv4: str = "0.0.0.0", ipv6: str = "::") -> None:  # noqa: S104  # STUN serves everybody
        """Bind both versions on one port (0 = any); "" leaves a version out. A host without IPv6 serves IPv4.

        Raises `UnderlayError` when the port is taken.
        """
        self.port = port
        if ipv4:
            self._open(socket.AF_INET, ipv4)
        if ipv6 and _has_ipv6():
            self._open(socket.AF_INET6, ipv6)

    def _open(self, family: socket.AddressFamily, host: str) -> None:
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.bind((host, self.port))
        except OSError as error:
            sock.close()
            raise UnderlayError(
                f"STUN cannot use UDP port {self.port} on {host}: {error.strerror}",
                mend="stop what uses the port or choose another one",
            ) from error
        self.port = sock.getsockname()[1]
        self._sockets.append(sock)
        asyncio.get_running_loop().add_reader(sock, partial(self._drain, sock))

    def _drain(self, sock: socket.socket) -> None:
        """Answer up to a batch; what is left makes the socket readable again."""
        for _ in range(BATCH):
            try:
                data, ancillary, _flags, source = sock.recvmsg(MAX_DATAGRAM, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                self.ignored["receive_error"] += 1
                continue
            self._answer(sock, data, ancillary, source)

    def _answer(
        self, sock: socket.socket, data: bytes, ancillary: list[tuple[int, int, bytes]], source: tuple[str, int]
    ) -> None:
        tx_id = self._asked(data)
        if tx_id is None:
            return
        answer = encode_response(tx_id, AddrPort(source[0].partition("%")[0], source[1]))
        try:
            sock.sendmsg([answer], _reply_from(ancillary), 0, source)
            self.answered += 1
        except OSError:
            self.ignored["send_error"] += 1

    def _asked(self, data: bytes) -> bytes | None:
        """Transaction id of a request that is to be answered."""
        try:
            return parse_request(data)
        except DecodeError as error:
            reason: str = error.reason
        with contextlib.suppress(DecodeError):
            tx_id = parse_foreign_request(data)
            if self._foreign.take(asyncio.get_running_loop().time()):
                return tx_id
            reason = "foreign_rate"
        self.ignored[reason] += 1
        return None

    def metrics(self) -> dict[str, int]:
        return {"answered": self.answered} | {f'ignored{{reason="{why}"}}': n for why, n in self.ignored.items()}

    def close(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()


def _reply_from(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Ancillary data that makes an answer leave from the address the request came to."""
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(value) >= _V4_INFO.size:
            _index, local, _destination = _V4_INFO.unpack_from(value)
            return [(level, kind, _V4_INFO.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            index = value[16:20] if value[:2] == b"\xfe\x80" else bytes(4)  # routing decides, but for link-local
            return [(level, kind, value[:16] + index)]
    return []


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
