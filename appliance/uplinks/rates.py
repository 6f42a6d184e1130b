"""What an uplink carries: rates from the interface's own byte counters. Nothing is sent to find them out."""

from __future__ import annotations

from dataclasses import dataclass

MIN_INTERVAL_S = 0.9


@dataclass(frozen=True, slots=True)
class Throughput:
    """Bytes a second, of everything on the interface: lately, and the most since it came."""

    rx_rate: float = 0.0
    tx_rate: float = 0.0
    rx_peak: float = 0.0
    tx_peak: float = 0.0


class RateMeter:
    """Counters that run back (another device under the name, a driver that starts anew) begin a new reading."""

    def __init__(self) -> None:
        self._before: tuple[float, int, int] | None = None
        self.throughput = Throughput()

    def read(self, rx_bytes: int, tx_bytes: int, now: float) -> None:
        before = self._before
        if before is not None and now - before[0] < MIN_INTERVAL_S:
            return
        self._before = (now, rx_bytes, tx_bytes)
        if before is None or rx_bytes < before[1] or tx_bytes < before[2]:
            return
        rx, tx = ((new - old) / (now - before[0]) for new, old in ((rx_bytes, before[1]), (tx_bytes, before[2])))
        known = self.throughput
        self.throughput = Throughput(rx, tx, max(known.rx_peak, rx), max(known.tx_peak, tx))
