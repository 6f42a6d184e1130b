"""The addresses at which a peer may be reached, with what is known of each (magicsock-disco spec 3.1, 3.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.magicsock.loss import LossRecord
from appliance.magicsock.path_mtu import PathMtu
from appliance.magicsock.scoring import DEFAULT_WIRE_MTU, PRIVATE_V4, PRIVATE_V6, ProvenPath
from appliance.magicsock.timing import (
    HEARTBEAT_INTERVAL,
    MAX_CANDIDATES,
    MAX_PONGS,
    NEVER,
    PING_TIMEOUT,
    RUNTIME_CANDIDATE_EXPIRY,
)
from appliance.types.addresses import CGNAT_V4, AddrPort, Prefix

INNER_NETS: tuple[Prefix, ...] = (*PRIVATE_V4, CGNAT_V4, PRIVATE_V6)


def is_public(address: AddrPort) -> bool:
    """Neither of a LAN nor of a carrier's inner network nor of this machine."""
    ip = address.address
    inner = any(ip in net for net in INNER_NETS)
    return not (inner or ip.is_loopback or ip.is_link_local)


@dataclass(frozen=True, slots=True)
class PongRecord:
    latency_s: float
    at: float
    seen_as: AddrPort


@dataclass(slots=True)
class Candidate:
    """Times are monotonic seconds, `NEVER` before the first. `in_netmap`: control names it now.

    `last_got_ping` also stands for other authenticated traffic from the address.
    """

    addr_port: AddrPort
    in_netmap: bool = False
    last_ping: float = NEVER
    last_got_ping: float = NEVER
    last_ping_back: float = NEVER
    call_me_maybe_at: float = NEVER
    pongs: deque[PongRecord] = field(default_factory=lambda: deque(maxlen=MAX_PONGS))
    loss: LossRecord = field(default_factory=LossRecord)
    mtu: PathMtu = field(default_factory=PathMtu)

    def deletable(self, now: float) -> bool:
        """Not from call-me-maybe, and gone from the netmap or learned from a ping too long ago."""
        if self.in_netmap or self.call_me_maybe_at != NEVER:
            return False
        return now - self.last_got_ping > RUNTIME_CANDIDATE_EXPIRY

    def answers(self, now: float) -> bool:
        """Whether a pong came so lately that the loss of a ping would mean something."""
        return bool(self.pongs) and now - self.pongs[-1].at <= PING_TIMEOUT + 2 * HEARTBEAT_INTERVAL

    def clear_history(self) -> None:
        self.last_ping = NEVER
        self.last_ping_back = NEVER
        self.pongs.clear()
        self.loss.clear()
        self.mtu.clear()

    def measured(self, latency_s: float, best: ProvenPath | None, socket: int = 0) -> ProvenPath:
        """The path that a pong proved. While its own loss is unknown it is taken to lose like the path in use."""
        loss = self.loss.share
        if loss is None:
            loss = best.loss if best is not None else 0.0
        wire_mtu = max(self.mtu.known or 0, DEFAULT_WIRE_MTU)
        return ProvenPath(self.addr_port, latency_s, wire_mtu, loss=loss, socket=socket)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the address was learned, for people."""
        named = (
            ("netmap", self.in_netmap),
            ("call-me-maybe", self.call_me_maybe_at != NEVER),
            ("ping", self.last_got_ping != NEVER),
        )
        return tuple(name for name, true in named if true)


class CandidateTable:
    """At most `most` addresses; when full, deletable ones make room, else the newcomer is refused."""

    def __init__(self) -> None:
        self._by_address: dict[AddrPort, Candidate] = {}
        self.most = MAX_CANDIDATES

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._by_address.values()))

    def __len__(self) -> int:
        return len(self._by_address)

    def __contains__(self, address: AddrPort) -> bool:
        return address in self._by_address

    def get(self, address: AddrPort) -> Candidate | None:
        return self._by_address.get(address)

    def add(self, address: AddrPort, now: float, keep: AddrPort | None = None) -> Candidate | None:
        """The candidate of the address, made when new; None when there is no room. `keep` is never pruned."""
        found = self._by_address.get(address)
        if found is not None:
            return found
        if len(self._by_address) >= self.most:
            self._prune(now, keep)
            if len(self._by_address) >= self.most:
                return None
        made = self._by_address[address] = Candidate(address)
        return made

    def answers(self, address: AddrPort, now: float) -> bool:
        found = self._by_address.get(address)
        return found is not None and found.answers(now)

    def answering(self, now: float, *, everybody: bool = False) -> list[AddrPort]:
        """Those that answered lately, or all."""
        return [each.addr_port for each in self._by_address.values() if everybody or each.answers(now)]

    def loses(self, address: AddrPort) -> bool:
        """Whether pings to it get lost, more than by chance."""
        found = self._by_address.get(address)
        return found is not None and found.loss.suspicious

    def forget_loss(self, path: ProvenPath | None) -> None:
        """A path that died did not lose packets by chance."""
        found = self._by_address.get(path.addr_port) if path is not None else None
        if found is not None:
            found.loss.clear()

    def note_lost(self, address: AddrPort | None) -> None:
        """A ping to it got no answer."""
        found = self._by_address.get(address) if address is not None else None
        if found is not None:
            found.loss.note(False)

    def public_v4(self) -> AddrPort | None:
        """The first global IPv4 address, which is that of the peer's NAT if it has one."""
        found = (c.addr_port for c in self._by_address.values() if not c.addr_port.is_v6)
        return next((address for address in found if is_public(address)), None)

    def _prune(self, now: float, keep: AddrPort | None) -> None:
        for candidate in self:
            if candidate.addr_port != keep and candidate.deletable(now):
                self.remove(candidate.addr_port)

    def remove(self, address: AddrPort) -> None:
        self._by_address.pop(address, None)

    def set_netmap(self, addresses: Sequence[AddrPort], now: float) -> bool:
        """Control's list: new ones are added, missing ones only lose their mark (they go when deletable).

        Whether there was a new one among them.
        """
        fresh = any(address not in self for address in addresses)
        for candidate in self:
            candidate.in_netmap = False
        for address in addresses:
            candidate_or_none = self.add(address, now)
            if candidate_or_none is not None:
                candidate_or_none.in_netmap = True
        return fresh
