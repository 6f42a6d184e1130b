"""Datagrams of a relay, forwarded by the kernel: no process sees them. And the twin in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError

LEASE_S = 5.0
"""So long the kernel goes on without a word of ours: a process that died forwards nothing more."""


class KernelRelayError(ApplianceError):
    """The kernel does not forward for us: `text` says why."""

    code = "no-kernel-relay"


@dataclass(frozen=True, slots=True)
class RelayPair:
    """Both sides' proven addresses, and the bytes a second that they may send together; 0 is no limit."""

    first: AddrPort
    second: AddrPort
    bytes_per_s: int = 0


@dataclass(frozen=True, slots=True)
class PairTraffic:
    """What the kernel forwarded for a pair since it was told last; bytes behind the UDP headers.

    `first_seen` and `second_seen`: monotonic seconds of this host at which that side sent last, 0 before it did.
    """

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    """Above the pair's rate."""
    first_seen: float = 0.0
    second_seen: float = 0.0


class KernelRelay(Protocol):
    """Forwards between two sides by VNI; what it does not forward comes to the relay's own socket as ever."""

    def keep(self, pairs: Mapping[int, RelayPair]) -> Mapping[int, PairTraffic]:
        """Forward for exactly these pairs, by VNI, for `LEASE_S` from now; call it again before.

        Returns what was forwarded since the last call, that of pairs which are no more included. A pair that the
        kernel cannot serve (two IP versions, no route, a device without Ethernet) is left to the socket. Raises
        `KernelRelayError` when nothing can be forwarded any more.
        """
        ...

    def forget(self, vni: int) -> None:
        """Stop forwarding for a pair at once: its addresses changed, or it ended."""
        ...

    @property
    def serving(self) -> int:
        """Pairs that the kernel forwards for."""
        ...

    def close(self) -> None:
        """Take everything out of the kernel."""
        ...


@dataclass
class MemoryKernelRelay:
    """The twin: `pairs` is what it was told to keep; `traffic` is given out by the next `keep`."""

    port: int = 0
    pairs: dict[int, RelayPair] = field(default_factory=dict)
    traffic: dict[int, PairTraffic] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)
    refuse_with: KernelRelayError | None = None
    closed: bool = False

    def keep(self, pairs: Mapping[int, RelayPair]) -> Mapping[int, PairTraffic]:
        if self.refuse_with is not None:
            raise self.refuse_with
        self.pairs = {vni: pair for vni, pair in pairs.items() if pair.first.is_v6 == pair.second.is_v6}
        told, self.traffic = self.traffic, {}
        return told

    def forget(self, vni: int) -> None:
        self.forgotten.append(vni)
        self.pairs.pop(vni, None)

    @property
    def serving(self) -> int:
        return len(self.pairs)

    def close(self) -> None:
        self.closed = True
        self.pairs.clear()
