"""How much an uplink carries, each way apart: trains of large datagrams arrive at the pace of its narrowest part.

Sans-IO. Upward, large STUN requests get small answers, which any STUN server gives. Downward, a server of ours answers
one request by a train of large answers (`proto/stun/train.py`); of others nothing is learned. Rare and bounded: a
measurement is a few trains, each longer than the one before because routers let a first burst pass at full speed, and
none that would take longer than `LONGEST_S`; it is made once the uplink has proven itself, and every six hours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from appliance.ports.randomness import Randomness
from appliance.proto.stun import (
    PACKET_BYTES,
    TX_ID_SIZE,
    BindingResponse,
    encode_large_request,
    encode_train_request,
    parse_response,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

WIRE_BYTES = PACKET_BYTES + 28
"""With IPv4 and UDP headers."""
TRAINS = (32, 64, 128, 256)
"""Packets: 590 kB at most."""
ENOUGH_S = 0.1
"""A train that took so long has shown the lasting rate."""
LONGEST_S = 0.4
SILENCE_S = 0.5
"""A train is over when nothing came for so long, or its last packet came."""
FEWEST = 12
"""Packets of a train that say something."""
FIRST_AFTER_S = 30.0
DOWN_AFTER_S = 45.0
INTERVAL_S = 6 * 3600.0
RETRY_S = 300.0
BUSY_RETRY_S = 60.0


class CapacityMeter(ABC):
    """`handle_timer` gives what is to be sent. `rate`: bytes a second one way, None = not known."""

    def __init__(self, randomness: Randomness, first_at: float) -> None:
        self._randomness = randomness
        self._targets: tuple[AddrPort, ...] = ()
        self._turn = 0
        self._train = 0
        self._arrivals: list[float] = []
        self._over_at: float | None = None
        self._next_at = first_at
        self._found: float | None = None
        self.busy = False
        """Between the first train of a measurement and the end of the last."""
        self.rate: float | None = None

    @abstractmethod
    def _start(self, count: int) -> list[bytes]:
        """What makes so many packets run, or the next step toward it."""

    @abstractmethod
    def _receive(self, response: BindingResponse, now: float) -> bool:
        """Whether it was an answer to what is under way."""

    def set_targets(self, targets: Sequence[AddrPort]) -> None:
        """STUN servers; none: nothing is measured."""
        self._targets = tuple(targets)
        if not targets:
            self._train, self._over_at, self.busy = 0, None, False

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
        if not may and not self.busy:
            self._next_at = now + BUSY_RETRY_S
            return []
        if not self.busy:
            self.busy = True
            self._turn += 1
            self._found = None
        self._arrivals = []
        self._over_at = now + SILENCE_S
        to = self._targets[self._turn % len(self._targets)]
        return [(to, data) for data in self._start(TRAINS[self._train])]

    def receive(self, data: bytes, now: float) -> bool:
        """Whether it was an answer to one of these requests."""
        if self._over_at is None:
            return False
        try:
            response = parse_response(data)
        except DecodeError:
            return False
        return self._receive(response, now)

    def _arrived(self, now: float) -> None:
        self._arrivals.append(now)
        self._over_at = now if len(self._arrivals) >= TRAINS[self._train] else now + SILENCE_S

    def _train_over(self, now: float) -> None:
        sent, arrivals = TRAINS[self._train], self._arrivals
        self._over_at = None
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
        self.busy = False
        self._next_at = now + (RETRY_S if self._found is None else INTERVAL_S)


class UpwardMeter(CapacityMeter):
    """The answers are small: they come at the pace at which the requests got through."""

    def __init__(self, randomness: Randomness, now: float) -> None:
        super().__init__(randomness, now + FIRST_AFTER_S)
        self._waiting: set[bytes] = set()

    def _start(self, count: int) -> list[bytes]:
        ids = [self._randomness.bytes(TX_ID_SIZE) for _ in range(count)]
        self._waiting = set(ids)
        return [encode_large_request(tx_id) for tx_id in ids]

    def _receive(self, response: BindingResponse, now: float) -> bool:
        if response.tx_id not in self._waiting:
            return False
        self._waiting.discard(response.tx_id)
        self._arrived(now)
        return True


class DownwardMeter(CapacityMeter):
    """Each train is two steps: a ticket is asked for, then shown."""

    def __init__(self, randomness: Randomness, now: float) -> None:
        super().__init__(randomness, now + DOWN_AFTER_S)
        self._tx_id = b""
        self._asking = False
        self._ticket = b""

    def _start(self, count: int) -> list[bytes]:
        ticket, self._ticket = self._ticket, b""
        self._asking = not ticket
        if ticket:
            return [encode_train_request(self._tx_id, ticket, count)]
        self._tx_id = self._randomness.bytes(TX_ID_SIZE)
        return [encode_train_request(self._tx_id)]

    def _receive(self, response: BindingResponse, now: float) -> bool:
        if response.tx_id != self._tx_id:
            return False
        if not self._asking:
            self._arrived(now)
        elif response.ticket:
            self._ticket = response.ticket
            self._over_at, self._next_at = None, now
        else:
            self._over_at = now  # no server of ours
        return True


def lasting_rate(arrivals: Sequence[float]) -> float | None:
    """Bytes a second of a train's later half, or of the whole where that is slower; None when too little came.

    A first burst may pass faster, and what had to wait for this process seems to come at once.
    """
    if len(arrivals) < FEWEST:
        return None
    last = len(arrivals) - 1
    return min(
        (last - first) * WIRE_BYTES / max(arrivals[last] - arrivals[first], 1e-4) for first in (0, len(arrivals) // 2)
    )
