"""Sees every packet that a host's interface receives: a capture in a thread of its own, in a namespace."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from tests.lab.raw_packets import TCP, UDP, addresses, upper
from tests.lab.router_host import inside

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace

ETH_P_ALL = 3
ETH_HEADER = 14
IP_TYPES = (0x0800, 0x86DD)


def describe(packet: bytes) -> str:
    """An IP packet in one line."""
    source, destination = addresses(packet)
    protocol, payload = upper(packet)
    ports = ""
    if protocol in (TCP, UDP) and len(payload) >= 4:
        ports = f" {int.from_bytes(payload[:2], 'big')}->{int.from_bytes(payload[2:4], 'big')}"
    return f"{source} -> {destination} proto {protocol}{ports}"


class UplinkWatch:
    """Keeps the IP packets that come in by one interface and for which `wanted` is true, and counts all of them."""

    def __init__(self, host: Namespace, interface: str, wanted: Callable[[bytes], bool]) -> None:
        self._host, self._interface, self._wanted = host, interface, wanted
        self._end = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._errors: list[BaseException] = []
        self.seen: list[str] = []
        self.packets = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert not self._errors, self._errors

    def take(self) -> list[str]:
        """What was seen since the last call."""
        found, self.seen = self.seen, []
        return found

    def _run(self) -> None:
        try:
            with inside(self._host):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            sock.bind((self._interface, ETH_P_ALL))
            self._ready.set()
            with sock:
                while not self._end.is_set():
                    if select.select([sock], [], [], 0.1)[0]:
                        frame, (_, _, kind, *_) = sock.recvfrom(65536)
                        if kind != socket.PACKET_OUTGOING:
                            self._look(frame)
        except BaseException as error:
            self._errors.append(error)
            self._ready.set()

    def _look(self, frame: bytes) -> None:
        if int.from_bytes(frame[12:14], "big") not in IP_TYPES:
            return
        self.packets += 1
        if self._wanted(frame[ETH_HEADER:]):
            self.seen.append(describe(frame[ETH_HEADER:]))
