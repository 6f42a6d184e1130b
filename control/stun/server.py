"""UDP STUN server on asyncio, a socket per IP version; answers leave from the address that was asked (8.2, 8.3)."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial

from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from control.stun.answers import Answers
from control.stun.trains import TrainSender

DEFAULT_PORT = 3478
BATCH = 64
MAX_DATAGRAM = 1500
BUFFER_BYTES = 1 << 20

_IP_PKTINFO = 8  # linux/in.h; the socket module does not name it
_V4_INFO = struct.Struct("=I4s4s")
_ANCILLARY = socket.CMSG_SPACE(20)


class StunServer:
    """Binding requests are answered, all else is counted and ignored. `secret`: 32 random bytes of this process."""

    def __init__(self, secret: bytes) -> None:
        self._senders: dict[socket.socket, TrainSender] = {}
        self._answers = Answers(secret)
        self.answered = 0
        self.trains = 0
        self.ignored = self._answers.ignored
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
        self._senders[sock] = TrainSender(sock)
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
        mapped = AddrPort(source[0].partition("%")[0], source[1])
        found = self._answers.answer(data, mapped, asyncio.get_running_loop().time())
        if found is None:
            return
        answer, count = found
        if count > 1:
            self._senders[sock].send(answer, count, _reply_from(ancillary), source)
            self.trains += 1
            return
        try:
            sock.sendmsg([answer], _reply_from(ancillary), 0, source)
            self.answered += 1
        except OSError:
            self.ignored["send_error"] += 1

    def metrics(self) -> dict[str, int]:
        sent = {"answered": self.answered, "trains": self.trains}
        return sent | {f'ignored{{reason="{why}"}}': n for why, n in self.ignored.items()}

    def close(self) -> None:
        for sock, sender in self._senders.items():
            asyncio.get_running_loop().remove_reader(sock)
            sender.close()
            sock.close()
        self._senders.clear()


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
