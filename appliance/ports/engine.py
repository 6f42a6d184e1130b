"""The seam of the data plane: apply a peer diff, give statistics, close. Paths are `appliance.ports.underlay`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from appliance.types.addresses import AddrPort, Prefix
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey


@dataclass(frozen=True, slots=True)
class EnginePeer:
    """A WireGuard peer. `allowed_ips` is the complete new list; a prefix belongs to exactly one peer."""

    key: NodePublicKey
    allowed_ips: tuple[Prefix, ...]
    preshared_key: PresharedKey | None = None
    keepalive_s: int = 0


@dataclass(frozen=True, slots=True)
class EngineDiff:
    """One atomic change. `private_key` None means unchanged; `replace` drops every peer not in `upsert`.

    `reset` names peers whose session must be forgotten (their disco key changed: they restarted), keeping the peer.
    `greet` names peers that may still use a session of our run before: a handshake gives them a new one.
    """

    private_key: NodePrivateKey | None = None
    replace: bool = False
    upsert: tuple[EnginePeer, ...] = ()
    remove: tuple[NodePublicKey, ...] = ()
    reset: tuple[NodePublicKey, ...] = ()
    greet: tuple[NodePublicKey, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """Counters since the peer was added, in WireGuard's bytes; `last_handshake` UTC, None before the first."""

    tx_bytes: int = 0
    rx_bytes: int = 0
    last_handshake: datetime | None = None
    endpoint: AddrPort | None = None


class Engine(Protocol):
    """Also implements `appliance.ports.underlay.Underlay`; one contract suite runs on the twin and on every engine."""

    @property
    def kind(self) -> str:
        """`userspace`, `kernel` or `memory`."""
        ...

    @property
    def interface(self) -> str:
        """Name of the tunnel device."""
        ...

    async def start(self) -> None: ...

    async def apply(self, diff: EngineDiff) -> None:
        """Apply what the diff names and nothing else; cost follows the diff, not the number of peers."""
        ...

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]: ...

    def counters(self) -> Mapping[str, int]:
        """Drops by reason and other totals, for metrics."""
        ...

    async def close(self) -> None:
        """Remove the device and close the port. Safe to call twice."""
        ...


@dataclass
class MemoryEngine:
    """The twin of `Engine`'s configuration half: keeps the peers that were applied."""

    kind: str = "memory"
    interface: str = "waypost0"
    private_key: NodePrivateKey | None = None
    peers: dict[NodePublicKey, EnginePeer] = field(default_factory=dict)
    resets: list[NodePublicKey] = field(default_factory=list)
    applied: list[EngineDiff] = field(default_factory=list)
    closed: bool = False

    async def start(self) -> None:
        self.closed = False

    async def apply(self, diff: EngineDiff) -> None:
        self.applied.append(diff)
        if diff.private_key is not None:
            self.private_key = diff.private_key
        if diff.replace:
            self.peers.clear()
        for key in diff.remove:
            self.peers.pop(key, None)
        for peer in diff.upsert:
            taken = set(peer.allowed_ips)
            for other in list(self.peers.values()):
                if other.key != peer.key and taken.intersection(other.allowed_ips):
                    kept = tuple(prefix for prefix in other.allowed_ips if prefix not in taken)
                    self.peers[other.key] = EnginePeer(other.key, kept, other.preshared_key, other.keepalive_s)
            self.peers[peer.key] = peer
        self.resets.extend(key for key in diff.reset if key in self.peers)

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]:
        return {key: PeerStatistics() for key in self.peers}

    def counters(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        self.closed = True
        self.peers.clear()
