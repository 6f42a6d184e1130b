"""Side sockets on Linux: plain non-blocking UDP sockets in the event loop. For a few hundred that live briefly."""

from __future__ import annotations

import asyncio
import itertools
import resource
import socket
from collections.abc import Sequence

from appliance.drivers.socket_options import MAX_DATAGRAM
from appliance.drivers.sockets import marking
from appliance.ports.side_ports import SideReceiver, SideSocket
from appliance.types.addresses import AddrPort

SPARE_FILES = 256
"""File descriptors that the rest of the process is left with."""
_BATCH = 64


class LinuxSidePorts:
    """`mark` is SO_MARK, 0 = none, as of the WireGuard port: side sockets do not go through the tunnel either."""

    def __init__(self, mark: int = 0) -> None:
        self._new_socket = marking(mark)
        self._receive: SideReceiver | None = None
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.count(1)

    def set_receiver(self, receive: SideReceiver) -> None:
        self._receive = receive

    def open(self, count: int) -> Sequence[SideSocket]:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(0, soft - SPARE_FILES - len(self._sockets))
        made: list[SideSocket] = []
        for _ in range(min(count, room)):
            try:
                made.append(self._open())
            except OSError:
                break
        return made

    def _open(self) -> SideSocket:
        sock = self._new_socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind(("0.0.0.0", 0))  # noqa: S104  # an underlay port
        except OSError:
            sock.close()
            raise
        number = next(self._numbers)
        self._sockets[number] = sock
        asyncio.get_running_loop().add_reader(sock, self._readable, number)
        return SideSocket(number, sock.getsockname()[1])

    def _readable(self, number: int) -> None:
        for _ in range(_BATCH):
            sock = self._sockets.get(number)  # what came may have closed it
            if sock is None:
                return
            try:
                data, source = sock.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet
            if self._receive is not None:
                self._receive(number, AddrPort(source[0], source[1]), data)

    def send(self, number: int, to: AddrPort, data: bytes) -> None:
        sock = self._sockets.get(number)
        if sock is not None:
            sock.sendto(data, to)

    def close(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            sock = self._sockets.pop(number, None)
            if sock is not None:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    def close_all(self) -> None:
        self.close(tuple(self._sockets))
