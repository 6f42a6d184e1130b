"""The UDP ports of the engine, and the ways out for a peer's packets: direct, by peer relay, by relay server."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from appliance.engine.userspace.peers import PeerRecord
from appliance.ports.packets import Segments, UdpPort, one
from appliance.ports.underlay import UnderlaySink
from appliance.proto.geneve import PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.proto.wireguard import GeneveSource, RelaySource, Source
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePublicKey


def wrap(batch: Segments, vni: int) -> Segments:
    """Each segment behind a Geneve header."""
    header = encode_header(GeneveHeader(PROTOCOL_WIREGUARD, vni))
    return Segments(b"".join(part for segment in batch for part in (header, segment)), batch.size + len(header))


class Sender:
    """Failures of the kernel go to the sink, never up. `on_readable` is called with the port that has datagrams."""

    def __init__(
        self,
        open_udp: Callable[[int], Sequence[UdpPort]],
        on_readable: Callable[[UdpPort], None],
        counters: Counter[str],
    ) -> None:
        self._open_udp = open_udp
        self._on_readable = on_readable
        self._counters = counters
        self._ports: list[UdpPort] = []
        self._last_port = 0
        self.sink: UnderlaySink | None = None

    def local_ports(self) -> Sequence[AddrPort]:
        return tuple(port.local for port in self._ports)

    def open(self, wished: int) -> None:
        """Bind the wished port, 0 any. Raises what the driver raises."""
        self._ports = list(self._open_udp(wished))
        if self._ports:
            self._last_port = self._ports[0].local.port
        for port in self._ports:
            port.set_reader(partial(self._on_readable, port))

    def reopen(self, wished: int) -> bool:
        """Close and bind again: the wished port, else the one before, else any; False when none could be bound."""
        self.close()
        for candidate in dict.fromkeys((wished or self._last_port, self._last_port, 0)):
            try:
                self.open(candidate)
            except (OSError, UnderlayError):
                self._counters["rebind_refused"] += 1
            else:
                return True
        return False

    def close(self) -> None:
        for port in self._ports:
            port.set_reader(None)
            port.close()
        self._ports = []

    def send(self, to: AddrPort, batch: Segments, peer: NodePublicKey | None) -> None:
        """Send by UDP from the port of the right IP version."""
        try:
            self._port_to(to).send(to, batch)
        except OSError as error:
            self._failed(peer, to, error)

    def send_whole(self, to: AddrPort, packet: bytes) -> None:
        """Send one packet that must not be fragmented; one that is too large for our own link is lost."""
        try:
            self._port_to(to).send_whole(to, packet)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._counters["too_large"] += 1
            else:
                self._failed(None, to, error)

    def _port_to(self, to: AddrPort) -> UdpPort:
        for port in self._ports:
            if port.local.is_v6 == to.is_v6:
                return port
        raise OSError(errno.ENETUNREACH, "no UDP port of this IP version")

    def _failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        self._counters["send_failed"] += 1
        if self.sink is not None:
            self.sink.send_failed(peer, to, error)

    def send_by_path(self, record: PeerRecord, batch: Segments) -> None:
        """Send WireGuard messages wherever the peer's path says; the caller has seen that it is not parked."""
        path = record.path
        record.tx_bytes += len(batch.buffer)
        if path.direct is not None:
            self.send(path.direct, batch if path.vni is None else wrap(batch, path.vni), record.key)
        if path.relay:
            self._relay(record.key, batch)

    def send_to_source(self, source: Source, message: bytes, peer: NodePublicKey | None) -> None:
        """Answer where a message came from."""
        if isinstance(source, RelaySource):
            self._relay(source.peer, one(message))
        elif isinstance(source, GeneveSource):
            self.send(source.addr, wrap(one(message), source.vni), peer)
        else:
            self.send(source, one(message), peer)

    def _relay(self, peer: NodePublicKey, batch: Segments) -> None:
        if self.sink is None:
            self._counters["no_relay"] += 1
            return
        self.sink.relay_packets(peer, [bytes(segment) for segment in batch])


def covers(record: PeerRecord, source: Source) -> bool:
    """Whether the peer's path already leads to this source."""
    path = record.path
    if isinstance(source, RelaySource):
        return path.relay
    if isinstance(source, GeneveSource):
        return path.direct == source.addr and path.vni == source.vni
    return path.direct == source and path.vni is None
