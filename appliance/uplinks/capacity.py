"""How much an uplink carries upward: trains of large STUN requests, answered at the pace of its narrowest part.

Sans-IO. The answers are small, so nothing is learned of the other direction. Rare and bounded: a measurement is a few
trains, each longer than the one before because routers let a first burst pass at full speed, and none that would take
longer than `LONGEST_S`; it is made once the uplink has proven itself, and every six hours.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.ports.randomness import Randomness
from appliance.proto.stun import TX_ID_SIZE, encode_request, parse_response
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

PACKET_BYTES = 1200
WIRE_BYTES = PACKET_BYTES + 28
"""With IPv4 and UDP headers."""
TRAINS = (32, 64, 128, 256)
"""Packets: 590 kB at most."""
ENOUGH_S = 0.1
"""A train that took so long has shown the lasting rate."""
LONGEST_S = 0.4
SILENCE_S = 0.5
"""A train is over when nothing came for so long, or its last answer came."""
FEWEST = 12
"""Answers of a train that say something."""
FIRST_AFTER_S = 30.0
INTERVAL_S = 6 * 3600.0
RETRY_S = 300.0
BUSY_RETRY_S = 60.0
_BARE_REQUEST = 40
_ATTRIBUTE_HEAD = 4


class CapacityMeter:
    """`handle_timer` gives the requests to send. `rate`: bytes a second upward, None = not known."""

    def __init__(self, randomness: Randomness, now: float) -> None:
        self._randomness = randomness
        self._targets: tuple[AddrPort, ...] = ()
        self._turn = 0
        self._train = 0
        self._waiting: set[bytes] = set()
        self._arrivals: list[float] = []
        self._over_at: float | None = None
        self._next_at = now + FIRST_AFTER_S
        self._found: float | None = None
        self.rate: float | None = None

    def set_targets(self, targets: Sequence[AddrPort]) -> None:
        """STUN servers; none: nothing is measured."""
        self._targets = tuple(targets)

    def next_timer(self) -> float | None:
        if self._over_at is not None:
            return self._over_at
        return self._next_at if self._targets else None

    def handle_timer(self, now: float, *, may: bool) -> list[tuple[AddrPort, bytes]]:
        """`may`: the uplink works and is not in use by others, who would be measured too, and disturbed."""
        if self._over_at is not None and now >= self._over_at:
            self._train_over(now)
        if self._over_at is not None or not self._targets or now < self._next_at:
            return []
        if not may and not self._train:
            self._next_at = now + BUSY_RETRY_S
            return []
        if not self._train:
            self._turn += 1
            self._found = None
        return self._send(TRAINS[self._train], now)

    def _send(self, count: int, now: float) -> list[tuple[AddrPort, bytes]]:
        to = self._targets[self._turn % len(self._targets)]
        ids = [self._randomness.bytes(TX_ID_SIZE) for _ in range(count)]
        self._waiting, self._arrivals = set(ids), []
        self._over_at = now + SILENCE_S
        padding = PACKET_BYTES - _BARE_REQUEST - _ATTRIBUTE_HEAD
        return [(to, encode_request(tx_id, padding)) for tx_id in ids]

    def receive(self, data: bytes, now: float) -> bool:
        """Whether it was an answer to one of these requests."""
        if not self._waiting:
            return False
        try:
            tx_id = parse_response(data).tx_id
        except DecodeError:
            return False
        if tx_id not in self._waiting:
            return False
        self._waiting.discard(tx_id)
        self._arrivals.append(now)
        self._over_at = now if not self._waiting else now + SILENCE_S
        return True

    def _train_over(self, now: float) -> None:
        sent, arrivals = TRAINS[self._train], self._arrivals
        self._over_at, self._waiting = None, set()
        rate = lasting_rate(arrivals)
        if rate is None:
            self._finish(now)
            return
        self._found = rate
        self._train += 1
        took = arrivals[-1] - arrivals[0]
        last = self._train == len(TRAINS) or len(arrivals) < sent
        if last or took >= ENOUGH_S or TRAINS[self._train] * WIRE_BYTES / rate > LONGEST_S:
            self._finish(now)

    def _finish(self, now: float) -> None:
        if self._found is not None:
            self.rate = self._found
        self._train = 0
        self._next_at = now + (RETRY_S if self._found is None else INTERVAL_S)


def lasting_rate(arrivals: Sequence[float]) -> float | None:
    """Bytes a second of a train's later half, None when too little came. A first burst may pass faster."""
    if len(arrivals) < FEWEST:
        return None
    half = len(arrivals) // 2
    took = arrivals[-1] - arrivals[half]
    return (len(arrivals) - 1 - half) * WIRE_BYTES / max(took, 1e-4)
