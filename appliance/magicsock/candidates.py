"""The addresses at which a peer may be reached, with what is known of each (magicsock-disco spec 3.1, 3.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance.magicsock.timing import MAX_CANDIDATES, MAX_PONGS, RUNTIME_CANDIDATE_EXPIRY
from appliance.types.addresses import AddrPort

NEVER = float("-inf")


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

    def deletable(self, now: float) -> bool:
        """Not from call-me-maybe, and gone from the netmap or learned from a ping too long ago."""
        if self.in_netmap or self.call_me_maybe_at != NEVER:
            return False
        return now - self.last_got_ping > RUNTIME_CANDIDATE_EXPIRY

    def clear_history(self) -> None:
        self.last_ping = NEVER
        self.last_ping_back = NEVER
        self.pongs.clear()

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
    """At most `MAX_CANDIDATES` addresses; when full, deletable ones make room, else the newcomer is refused."""

    def __init__(self) -> None:
        self._by_address: dict[AddrPort, Candidate] = {}

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
        if len(self._by_address) >= MAX_CANDIDATES:
            self._prune(now, keep)
            if len(self._by_address) >= MAX_CANDIDATES:
                return None
        made = self._by_address[address] = Candidate(address)
        return made

    def _prune(self, now: float, keep: AddrPort | None) -> None:
        for candidate in self:
            if candidate.addr_port != keep and candidate.deletable(now):
                self.remove(candidate.addr_port)

    def remove(self, address: AddrPort) -> None:
        self._by_address.pop(address, None)

    def set_netmap(self, addresses: Iterable[AddrPort], now: float) -> None:
        """Control's list: new ones are added, missing ones only lose their mark (they go when deletable)."""
        for candidate in self:
            candidate.in_netmap = False
        for address in addresses:
            candidate_or_none = self.add(address, now)
            if candidate_or_none is not None:
                candidate_or_none.in_netmap = True
