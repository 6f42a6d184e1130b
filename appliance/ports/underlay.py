"""The seam between path finding and the data plane.

An engine implements `Underlay`: it owns the WireGuard UDP port. Path finding (magicsock) decides where a peer's
WireGuard packets go and implements `UnderlaySink`. The kernel engine does with netlink, a loopback proxy and steering
what the userspace engine does in its own loop; magicsock cannot tell them apart.

All calls are made in the event loop's thread, are quick and never block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey


@dataclass(frozen=True, slots=True)
class PeerPath:
    """Where a peer's WireGuard packets go.

    `direct` only: UDP to that address. `relay` only: handed to the sink, which sends by DERP. Both: mirrored, each
    packet goes both ways. Neither (`PARKED`): packets wait (bounded), the sink is told that the peer is wanted.
    `vni` wraps direct packets in Geneve for a peer relay (magicsock-disco spec 1.4).
    """

    direct: AddrPort | None = None
    relay: bool = False
    vni: int | None = None


PARKED = PeerPath()


@dataclass(frozen=True, slots=True)
class PeerActivity:
    """Traffic of one peer since its last report. `source` is the last authenticated UDP source, None if none.

    `tx_bytes` and `rx_bytes` count WireGuard payload of users; keepalives and handshakes count 0.
    `rx_direct` says that something authenticated came by UDP since the last report.
    """

    peer: NodePublicKey
    tx_bytes: int = 0
    rx_bytes: int = 0
    source: AddrPort | None = None
    rx_direct: bool = False


class UnderlaySink(Protocol):
    """What the engine tells path finding."""

    def datagrams_received(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        """Everything on the WireGuard port that is not WireGuard: disco, STUN, Geneve disco, unknown is dropped."""
        ...

    def relay_packets(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        """WireGuard packets of a peer whose path says `relay`."""
        ...

    def peer_wanted(self, peer: NodePublicKey) -> None:
        """A packet waits for a parked peer: find a path."""
        ...

    def activity(self, reports: Sequence[PeerActivity]) -> None:
        """Peers with traffic; per peer at most one report a second, the first after a second of silence at once."""
        ...

    def send_failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        """A send was refused by the kernel (EHOSTUNREACH, ENETUNREACH, EPERM …)."""
        ...


class Underlay(Protocol):
    """What path finding asks of the engine."""

    def set_sink(self, sink: UnderlaySink) -> None: ...

    def local_ports(self) -> Sequence[AddrPort]:
        """Bound addresses of the WireGuard port: at most one IPv4 and one IPv6, `0.0.0.0`/`::` when unbound."""
        ...

    def send_datagrams(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        """Send disco and STUN from the WireGuard port. Failures go to `send_failed`, never raise."""
        ...

    def send_whole(self, to: AddrPort, datagram: bytes) -> None:
        """Send one that neither we nor anybody on the way may fragment; when it is too large it is lost silently."""
        ...

    def set_path(self, peer: NodePublicKey, path: PeerPath) -> None:
        """Where this peer's packets go from now on. An unknown peer is ignored."""
        ...

    def inject(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        """WireGuard packets of this peer that arrived by relay. They never move its direct path."""
        ...

    def rebind(self, port: int = 0) -> None:
        """Re-open the UDP port: the wished port, else the current one, else any."""
        ...


class MemoryUnderlay:
    """The twin of `Underlay`: keeps what it was asked, gives what a test hands it."""

    def __init__(self, ports: Sequence[AddrPort] = (AddrPort("0.0.0.0", 41641),)) -> None:  # noqa: S104  # the port's form
        self._ports = list(ports)
        self.sink: UnderlaySink | None = None
        self.datagrams: list[tuple[AddrPort, bytes]] = []
        self.whole: list[tuple[AddrPort, bytes]] = []
        self.paths: dict[NodePublicKey, PeerPath] = {}
        self.injected: list[tuple[NodePublicKey, bytes]] = []
        self.rebinds: list[int] = []

    def set_sink(self, sink: UnderlaySink) -> None:
        self.sink = sink

    def local_ports(self) -> Sequence[AddrPort]:
        return tuple(self._ports)

    def send_datagrams(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        self.datagrams.extend(batch)

    def send_whole(self, to: AddrPort, datagram: bytes) -> None:
        self.whole.append((to, datagram))

    def set_path(self, peer: NodePublicKey, path: PeerPath) -> None:
        self.paths[peer] = path

    def inject(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.injected.extend((peer, packet) for packet in packets)

    def rebind(self, port: int = 0) -> None:
        self.rebinds.append(port)
