"""Packets of peers that have no direct path: between the device and path finding (magicsock-disco spec 6.2, 6.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from appliance.engine.kernel.peers import KernelPeer, PeerTable, proxied
from appliance.engine.kernel.traffic import KEEPALIVE
from appliance.engine.userspace.sender import Sender, wrap
from appliance.ports.packets import Segments
from appliance.ports.wireguard_device import LoopbackPort

_INITIATION, _DATA = 1, 4
_RECEIVE_LIMIT = 128
_WANTED_EVERY_S = 1.0
_RESTORE_EVERY_S = 0.1
_MAX_SEGMENTS = 64


class Proxy:
    """`restore` is asked to set the device's endpoint of a peer whose packets should not come here.

    `wireguard_port` is the device's own port.
    """

    def __init__(
        self,
        port: LoopbackPort,
        peers: PeerTable,
        sender: Sender,
        counters: Counter[str],
        wireguard_port: Callable[[], int],
        restore: Callable[[KernelPeer], None],
    ) -> None:
        self._port = port
        self._peers = peers
        self._sender = sender
        self._counters = counters
        self._wireguard_port = wireguard_port
        self._restore = restore

    def receive(self, now: float) -> None:
        """Everything that the device sent to loopback addresses."""
        by_index: dict[int, list[bytes]] = {}
        for index, packet in self._port.receive(_RECEIVE_LIMIT):
            by_index.setdefault(index, []).append(packet)
        for index, packets in by_index.items():
            record = self._peers.at(index)
            if record is None:
                self._counters["proxy_unknown_peer"] += len(packets)
            elif record.parked:
                self._hold(record, packets, now)
            else:
                self._forward(record, packets)
                if record.direct_only and now - record.moved_at >= _RESTORE_EVERY_S:
                    self._restore(record)

    def flush(self, record: KernelPeer) -> None:
        """The peer has a path now."""
        if record.held and not record.parked:
            packets = list(record.held)
            record.held.clear()
            self._forward(record, packets)

    def _hold(self, record: KernelPeer, packets: Sequence[bytes], now: float) -> None:
        """Of initiations only the newest is answered; a keepalive wakes nobody."""
        for packet in packets:
            if packet[:1] == bytes((_DATA,)) and len(packet) == KEEPALIVE:
                self._counters["parked_keepalive"] += 1
                continue
            if packet[:1] == bytes((_INITIATION,)):
                for old in [old for old in record.held if old[:1] == packet[:1]]:
                    record.held.remove(old)
            record.held.append(packet)
        sink = self._sender.sink
        if record.held and sink is not None and now - record.wanted_at >= _WANTED_EVERY_S:
            record.wanted_at = now
            sink.peer_wanted(record.key)

    def _forward(self, record: KernelPeer, packets: Sequence[bytes]) -> None:
        path = record.path
        if path.direct is not None:
            for batch in equal_runs(packets):
                self._sender.send(path.direct, batch if path.vni is None else wrap(batch, path.vni), record.key)
        if path.relay and self._sender.sink is not None:
            self._sender.sink.relay_packets(record.key, packets)

    def inject(self, record: KernelPeer, packets: Sequence[bytes]) -> None:
        """Packets that came by relay server. While the device sends directly they bear the direct source (6.6)."""
        record.injected += sum(map(len, packets))
        endpoint = record.endpoint
        if endpoint is not None and not proxied(endpoint) and (record.direct_only or record.roamed_at is not None):
            try:
                self._port.send_as(endpoint, packets, self._wireguard_port())
            except OSError:
                self._counters["inject_failed"] += 1
        else:
            self.deliver(record, packets)

    def deliver(self, record: KernelPeer, packets: Sequence[bytes]) -> None:
        """Give packets to the device as the peer's loopback address."""
        try:
            self._port.send(record.index, packets, self._wireguard_port())
        except OSError:
            self._counters["inject_failed"] += 1


def equal_runs(packets: Sequence[bytes]) -> Iterator[Segments]:
    """Batches of packets of one length, in order."""
    start = 0
    for end in range(1, len(packets) + 1):
        if end == len(packets) or len(packets[end]) != len(packets[start]) or end - start == _MAX_SEGMENTS:
            yield Segments(b"".join(packets[start:end]), len(packets[start]))
            start = end
