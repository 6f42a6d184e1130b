from __future__ import annotations

import pytest

from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import encode_response, parse_request
from appliance.types.addresses import AddrPort
from appliance.uplinks.capacity import (
    BUSY_RETRY_S,
    FIRST_AFTER_S,
    INTERVAL_S,
    PACKET_BYTES,
    RETRY_S,
    TRAINS,
    WIRE_BYTES,
    CapacityMeter,
    lasting_rate,
)

SERVER = AddrPort("203.0.113.1", 3478)
MAPPED = AddrPort("198.51.100.1", 5000)


class Line:
    """Carries `rate` bytes a second, the first `burst` bytes at once, and holds `room` packets; 20 ms away."""

    def __init__(self, rate: float, burst: int = 0, room: int = 1000) -> None:
        self.rate, self.burst, self.room = rate, burst, room
        self.now = 100.0
        self.meter = CapacityMeter(SeededRandomness(1), self.now)
        self.meter.set_targets([SERVER])
        self.trains: list[int] = []

    def step(self, *, may: bool = True) -> None:
        """One train with its answers, or whatever the meter wants next."""
        due = self.meter.next_timer()
        assert due is not None
        self.now = max(self.now, due)
        requests = self.meter.handle_timer(self.now, may=may)
        if not requests:
            return
        self.trains.append(len(requests))
        at, tokens = self.now + 0.02, self.burst
        for _, data in requests[: self.room]:
            at += 0.0 if tokens >= WIRE_BYTES else WIRE_BYTES / self.rate
            tokens = max(0, tokens - WIRE_BYTES)
            assert self.meter.receive(encode_response(parse_request(data), MAPPED), at)
        self.now = at

    def measure(self) -> float | None:
        self.step()
        while self.trains and self.now < 100 + INTERVAL_S and self.meter.next_timer() is not None:
            if (self.meter.next_timer() or 0.0) > self.now + 10:
                break
            self.step()
        return self.meter.rate


@pytest.mark.parametrize("rate", [60_000, 1_250_000, 12_500_000])
def test_ok__rate_of_the_narrowest_part(rate: float) -> None:
    assert Line(rate).measure() == pytest.approx(rate, rel=0.02)


def test_ok__first_burst_does_not_deceive() -> None:
    line = Line(1_250_000, burst=64_000)
    assert line.measure() == pytest.approx(1_250_000, rel=0.05)


def test_ok__full_queue_of_the_router_does_not_deceive() -> None:
    assert Line(1_250_000, room=40).measure() == pytest.approx(1_250_000, rel=0.02)


def test_ok__slow_line_is_not_filled_for_long() -> None:
    line = Line(60_000)
    line.measure()
    assert line.trains == [TRAINS[0]]


def test_ok__rare_and_bounded() -> None:
    line = Line(50_000_000)
    line.measure()
    assert line.trains == list(TRAINS)
    assert sum(line.trains) * WIRE_BYTES < 600_000
    due = line.meter.next_timer()
    assert due is not None
    assert due - line.now > INTERVAL_S - 1


def test_ok__not_before_the_uplink_has_proven_itself_nor_while_it_is_busy() -> None:
    line = Line(1_250_000)
    assert line.meter.next_timer() == 100.0 + FIRST_AFTER_S
    line.step(may=False)
    assert line.trains == []
    assert line.meter.next_timer() == pytest.approx(line.now + BUSY_RETRY_S)
    assert line.measure() is not None


def test_fail__silence_is_tried_again_later() -> None:
    line = Line(1_250_000, room=3)
    line.step()
    line.step()
    assert line.meter.rate is None
    assert line.meter.next_timer() == pytest.approx(line.now + RETRY_S)


def test_fail__answers_to_nothing_are_not_ours() -> None:
    meter = Line(1.0).meter
    assert not meter.receive(encode_response(bytes(12), MAPPED), 1.0)
    assert not meter.receive(b"x", 1.0)


def test_ok__requests_are_large_and_valid() -> None:
    line = Line(1.0)
    requests = line.meter.handle_timer(100 + FIRST_AFTER_S, may=True)
    assert {len(data) for _, data in requests} == {PACKET_BYTES}
    assert len({parse_request(data) for _, data in requests}) == len(requests)
    assert not line.meter.receive(b"x", 100 + FIRST_AFTER_S)


def test_ok__too_few_answers_say_nothing() -> None:
    assert lasting_rate([1.0, 2.0]) is None
