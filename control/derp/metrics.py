"""Counters of the DERP server (derp spec 3.11); plain integers, read by whoever exports them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class DropReason(StrEnum):
    """Why a packet was not delivered."""

    UNKNOWN_DEST = "unknown_dest"
    UNKNOWN_DEST_ON_FWD = "unknown_dest_on_fwd"
    GONE_DISCONNECTED = "gone_disconnected"
    QUEUE_HEAD = "queue_head"
    QUEUE_TAIL = "queue_tail"


class DerpMetrics:
    """What happened since the start; gauges are added by `DerpServer.metrics`."""

    def __init__(self) -> None:
        self.packets_received = 0
        self.packets_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_forwarded_in = 0
        self.packets_forwarded_out = 0
        self.forwards_dropped = 0
        self.accepted = 0
        self.home_moves = 0
        self.websockets = 0
        self.peer_gone_not_here = 0
        self.peer_gone_disconnected = 0
        self.write_timeouts = 0
        self.reads_delayed = 0
        self.dropped: Counter[tuple[DropReason, str]] = Counter()
        self.closed: Counter[str] = Counter()

    def drop(self, reason: DropReason, is_disco: bool) -> None:
        self.dropped[reason, "disco" if is_disco else "other"] += 1

    def snapshot(self) -> dict[str, int]:
        """All counters by name; labels in braces."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        drops = {f'packets_dropped{{reason="{why}",kind="{kind}"}}': n for (why, kind), n in self.dropped.items()}
        closes = {f'closed{{reason="{why}"}}': n for why, n in self.closed.items()}
        return plain | drops | closes
