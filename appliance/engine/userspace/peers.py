"""What the engine keeps of a peer beside its WireGuard session: path, totals, activity to be reported."""

from __future__ import annotations

from datetime import datetime

from appliance.ports.underlay import PARKED, PeerActivity, PeerPath
from appliance.proto.wireguard import Outgoing
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey


class PeerRecord:
    """`held` is the last handshake message that found the peer parked, with the time it was made."""

    __slots__ = (
        "held",
        "key",
        "last_handshake",
        "path",
        "pending_direct",
        "pending_rx",
        "pending_tx",
        "reported_at",
        "rx_bytes",
        "source",
        "tx_bytes",
        "wanted_at",
    )

    def __init__(self, key: NodePublicKey) -> None:
        self.key = key
        self.path: PeerPath = PARKED
        self.held: tuple[Outgoing, float] | None = None
        self.wanted_at = float("-inf")
        self.tx_bytes = 0
        self.rx_bytes = 0
        self.last_handshake: datetime | None = None
        self.source: AddrPort | None = None
        self.pending_tx = 0
        self.pending_rx = 0
        self.pending_direct = False
        self.reported_at = float("-inf")

    @property
    def parked(self) -> bool:
        return self.path.direct is None and not self.path.relay


class ActivityLog:
    """Coalesces activity to one report a second per peer, the first after a second of silence at once."""

    def __init__(self, interval_s: float = 1.0) -> None:
        self._interval_s = interval_s
        self._dirty: dict[PeerRecord, None] = {}
        self._next: float | None = None

    def note(self, record: PeerRecord, now: float, *, tx: int = 0, rx: int = 0, direct: bool = False) -> None:
        """Count payload bytes; `direct`: something authentic came by UDP."""
        record.pending_tx += tx
        record.pending_rx += rx
        record.pending_direct = record.pending_direct or direct
        if record not in self._dirty:
            self._dirty[record] = None
            due = max(now, record.reported_at + self._interval_s)
            self._next = due if self._next is None else min(self._next, due)

    def forget(self, record: PeerRecord) -> None:
        self._dirty.pop(record, None)

    def next_timer(self) -> float | None:
        return self._next

    def take(self, now: float) -> list[PeerActivity]:
        """Reports that are due."""
        if self._next is None or now < self._next:
            return []
        due = [record for record in self._dirty if record.reported_at + self._interval_s <= now]
        for record in due:
            del self._dirty[record]
        rest = [record.reported_at + self._interval_s for record in self._dirty]
        self._next = min(rest) if rest else None
        return [self._report(record, now) for record in due]

    def _report(self, record: PeerRecord, now: float) -> PeerActivity:
        report = PeerActivity(
            record.key, record.pending_tx, record.pending_rx, record.source, rx_direct=record.pending_direct
        )
        record.pending_tx = record.pending_rx = 0
        record.pending_direct = False
        record.reported_at = now
        return report
