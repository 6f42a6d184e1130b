"""Pings of one peer that wait for their pong."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.magicsock.timing import MAX_SENT_PINGS, PING_TIMEOUT
from appliance.types.addresses import AddrPort


@dataclass(frozen=True, slots=True)
class SentPing:
    """`to` None: by DERP. `token` names the person's request that it serves."""

    tx_id: bytes
    to: AddrPort | None
    at: float
    token: int | None = None


class PingLedger:
    """Bounded; in order of sending, so that the first is the next to time out."""

    def __init__(self) -> None:
        self._sent: dict[bytes, SentPing] = {}

    def add(self, ping: SentPing) -> None:
        if len(self._sent) >= MAX_SENT_PINGS:
            del self._sent[next(iter(self._sent))]
        self._sent[ping.tx_id] = ping

    def take(self, tx_id: bytes, by_derp: bool) -> SentPing | None:
        """The ping that a pong answers, once; the pong must have come the way that the ping went."""
        ping = self._sent.get(tx_id)
        if ping is None or (ping.to is None) != by_derp:
            return None
        return self._sent.pop(tx_id)

    def next_timeout(self) -> float | None:
        for ping in self._sent.values():
            return ping.at + PING_TIMEOUT
        return None

    def expire(self, now: float) -> list[SentPing]:
        """Pings that got no answer in time, removed."""
        expired: list[SentPing] = []
        for ping in self._sent.values():
            if ping.at + PING_TIMEOUT > now:
                break
            expired.append(ping)
        for ping in expired:
            del self._sent[ping.tx_id]
        return expired

    def clear(self) -> None:
        self._sent.clear()

    def __len__(self) -> int:
        return len(self._sent)
