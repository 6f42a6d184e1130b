"""From one client to the other, in batches: headers are looked at, contents never (magicsock-disco spec 5.4).

What the kernel hands over as one buffer leaves as one buffer, and neighbouring packets for one destination are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from appliance.api import Segments, UdpPort
from appliance.proto.geneve import HEADER_SIZE
from appliance.proto.stun import is_stun
from appliance.types.addresses import AddrPort

if TYPE_CHECKING:
    from appliance.proto.peer_relay import RelayServer

BATCHES = 64
"""Received at a time, so that the gateway's other work gets its turn."""
MAX_JOINED = 65000
MAX_SEGMENTS = 64
STRANGERS_RUNS = 8
"""Of a batch whose address is bound nowhere so much is looked at: handshakes come singly, floods in thousands."""
_PROTOCOLS = frozenset((b"\x7a\x11", b"\x7a\x12"))
_CONTROL = 0x80

Transport = tuple[str, str]
"""`udp4` or `udp6` of the way in and of the way out."""


def runs(batch: Segments) -> Iterator[tuple[bytes, memoryview]]:
    """Neighbouring packets with one and the same Geneve header, with that header."""
    view = memoryview(batch.buffer)
    head, start = bytes(view[:HEADER_SIZE]), 0
    for at in range(batch.size, len(view), batch.size):
        if view[at : at + HEADER_SIZE] != head:
            yield head, view[start:at]
            head, start = bytes(view[at : at + HEADER_SIZE]), at
    yield head, view[start:]


class Forwarder:
    """`on_stun` gets answers of STUN servers, `on_bound` the VNI of a session one side of which has a new address."""

    def __init__(
        self,
        server: RelayServer,
        on_stun: Callable[[AddrPort, bytes], None],
        on_bound: Callable[[int], None] = lambda _vni: None,
    ) -> None:
        self._server = server
        self._on_stun = on_stun
        self._on_bound = on_bound
        self._ports: dict[bool, UdpPort] = {}
        self.packets: Counter[Transport] = Counter()
        self.bytes: Counter[Transport] = Counter()
        self.counters: Counter[str] = Counter()
        self._to: AddrPort | None = None
        self._size = 0
        self._parts: list[memoryview] = []
        self._total = 0
        self._ended = False

    def use(self, ports: Iterable[UdpPort]) -> None:
        """These ports from now on."""
        self._ports = {port.local.is_v6: port for port in ports}

    def readable(self, port: UdpPort, now: float) -> None:
        """Datagrams wait at a port."""
        try:
            batches = port.receive(BATCHES)
        except OSError:
            self.counters["receive_failed"] += 1
            return
        for source, batch in batches:
            if batch.size <= 0:
                continue
            found = runs(batch)
            if not self._server.is_bound(source):
                found = islice(found, STRANGERS_RUNS)
            for head, packets in found:
                self._take(port, source, head, packets, batch.size, now)
        self._flush()

    def _take(self, port: UdpPort, source: AddrPort, head: bytes, packets: memoryview, size: int, now: float) -> None:
        if len(head) < HEADER_SIZE or head[0] or head[7] or head[2:4] not in _PROTOCOLS:
            self._other(source, packets, size)
        elif head[1] == _CONTROL:
            self._handshake(port, source, int.from_bytes(head[4:7], "big"), packets, size, now)
        elif head[1]:
            self.counters["bad_header"] += 1
        else:
            self._forward(port, source, int.from_bytes(head[4:7], "big"), packets, size, now)

    def _forward(self, port: UdpPort, source: AddrPort, vni: int, packets: memoryview, size: int, now: float) -> None:
        session = self._server.session(vni)
        to = session.toward(source, now) if session is not None else None
        if session is None or to is None:
            self.counters["unbound" if session is not None else "unknown_vni"] += 1
            return
        count, length = -(-len(packets) // size), len(packets)
        limit = self._server.limits.bytes_per_s
        if limit and not session.has_room(length, limit, now):
            self.counters["over_rate"] += count
            return
        session.packets += count
        session.bytes += length
        way = family(port.local), family(to)
        self.packets[way] += count
        self.bytes[way] += length
        self._queue(to, packets, size)

    def _queue(self, to: AddrPort, packets: memoryview, size: int) -> None:
        """Only the last packet of what goes out together may be shorter than the others."""
        fits = self._total + len(packets) <= min(MAX_JOINED, MAX_SEGMENTS * self._size)
        alike = size == self._size or len(packets) <= min(size, self._size)
        if to != self._to or self._ended or not fits or not alike:
            self._flush()
            self._to, self._size = to, min(size, len(packets))
        self._parts.append(packets)
        self._total += len(packets)
        self._ended = self._total % self._size != 0

    def _flush(self) -> None:
        to, parts = self._to, self._parts
        if to is None:
            return
        self._to, self._parts, self._total, self._ended = None, [], 0, False
        self._send(to, Segments(parts[0] if len(parts) == 1 else b"".join(parts), self._size))

    def _send(self, to: AddrPort, batch: Segments) -> None:
        port = self._ports.get(to.is_v6)
        try:
            if port is None:
                self.counters["no_port"] += 1
            else:
                port.send(to, batch)
        except OSError:
            self.counters["send_failed"] += 1

    def send(self, to: AddrPort, packet: bytes) -> None:
        """One packet of the relay's own."""
        self._send(to, Segments(packet, len(packet)))

    def _handshake(self, port: UdpPort, source: AddrPort, vni: int, packets: memoryview, size: int, now: float) -> None:
        for at in range(0, len(packets), size):
            before = self._server.counters["bound"]
            answer = self._server.receive_handshake(vni, bytes(packets[at : at + size]), source, now)
            if answer is not None:
                self.send(source, answer)
            if self._server.counters["bound"] != before:
                self._on_bound(vni)

    def _other(self, source: AddrPort, packets: memoryview, size: int) -> None:
        """Neither relayed nor a handshake: STUN, or nothing of ours."""
        if len(packets) <= size and is_stun(packets):
            self._on_stun(source, bytes(packets))
        else:
            self.counters["not_ours"] += -(-len(packets) // size)


def family(address: AddrPort) -> str:
    """As metrics name it."""
    return "udp6" if address.is_v6 else "udp4"
