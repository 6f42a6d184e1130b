from __future__ import annotations

import pytest

from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import (
    PACKET_BYTES,
    TrainRequest,
    encode_response,
    encode_ticket,
    encode_train_packet,
    parse_request,
    parse_train_request,
)
from appliance.types.addresses import AddrPort
from appliance.uplinks.capacity import (
    BUSY_RETRY_S,
    DOWN_AFTER_S,
    FIRST_AFTER_S,
    INTERVAL_S,
    RETRY_S,
    TRAINS,
    WIRE_BYTES,
    CapacityMeter,
    DownwardMeter,
    UpwardMeter,
    lasting_rate,
)

SERVER = AddrPort("203.0.113.1", 3478)
MAPPED = AddrPort("198.51.100.1", 5000)
TICKET = b"t" * 16


class Line:
    """Carries `rate` bytes a second one way, the first `burst` bytes at once, and holds `room` packets; 20 ms away."""

    make: type[UpwardMeter] | type[DownwardMeter] = UpwardMeter

    def __init__(self, rate: float, burst: int = 0, room: int = 1000) -> None:
        self.rate, self.burst, self.room = rate, burst, room
        self.now = 100.0
        self.meter: CapacityMeter = self.make(SeededRandomness(1), self.now)
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
        self.answer([data for _, data in requests])

    def answer(self, requests: list[bytes]) -> None:
        self.carry([encode_response(parse_request(data), MAPPED) for data in requests])

    def carry(self, answers: list[bytes]) -> None:
        """A train and its answers: whichever are large come at the line's pace."""
        self.trains.append(len(answers))
        at, tokens = self.now + 0.02, self.burst
        for answer in answers[: self.room]:
            at += 0.0 if tokens >= WIRE_BYTES else WIRE_BYTES / self.rate
            tokens = max(0, tokens - WIRE_BYTES)
            assert self.meter.receive(answer, at)
        self.now = at

    def measure(self) -> float | None:
        self.step()
        while self.meter.busy:
            self.step()
        return self.meter.rate


class LineDown(Line):
    """To a server that gives trains."""

    make = DownwardMeter

    def answer(self, requests: list[bytes]) -> None:
        (request,) = map(parse_train_request, requests)
        if not request.packets:
            assert self.meter.receive(encode_ticket(request.tx_id, MAPPED, TICKET), self.now + 0.02)
            self.now += 0.02
            return
        assert request == TrainRequest(request.tx_id, TICKET, request.packets)
        self.carry([encode_train_packet(request.tx_id, MAPPED)] * request.packets)


both_ways = pytest.mark.parametrize("line_of", [Line, LineDown])


@both_ways
@pytest.mark.parametrize("rate", [60_000, 1_250_000, 12_500_000])
def test_ok__rate_of_the_narrowest_part(line_of: type[Line], rate: float) -> None:
    assert line_of(rate).measure() == pytest.approx(rate, rel=0.02)


@both_ways
def test_ok__first_burst_does_not_deceive(line_of: type[Line]) -> None:
    line = line_of(1_250_000, burst=64_000)
    assert line.measure() == pytest.approx(1_250_000, rel=0.05)


@both_ways
def test_ok__full_queue_of_the_router_does_not_deceive(line_of: type[Line]) -> None:
    assert line_of(1_250_000, room=40).measure() == pytest.approx(1_250_000, rel=0.02)


@both_ways
def test_ok__slow_line_is_not_filled_for_long(line_of: type[Line]) -> None:
    line = line_of(60_000)
    line.measure()
    assert line.trains == [TRAINS[0]]


@both_ways
def test_ok__rare_and_bounded(line_of: type[Line]) -> None:
    line = line_of(50_000_000)
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


@both_ways
def test_fail__silence_is_tried_again_later(line_of: type[Line]) -> None:
    line = line_of(1_250_000, room=3)
    while not line.trains or line.meter.busy:
        line.step()
    assert line.meter.rate is None
    assert line.meter.next_timer() == pytest.approx(line.now + RETRY_S)


def test_fail__a_server_that_gives_no_trains() -> None:
    """It answers as if an ordinary request had come."""
    line = Line(1_250_000)
    line.meter = DownwardMeter(SeededRandomness(1), line.now)
    line.meter.set_targets([SERVER])
    line.step()
    line.step()
    assert (line.meter.rate, line.meter.busy) == (None, False)
    assert line.meter.next_timer() == pytest.approx(line.now + RETRY_S)


@both_ways
def test_ok__the_servers_may_go_meanwhile(line_of: type[Line]) -> None:
    meter = line_of(1_250_000).meter
    assert meter.handle_timer(100 + DOWN_AFTER_S, may=True)
    assert meter.busy
    meter.set_targets([])
    assert (meter.busy, meter.next_timer()) == (False, None)


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


def test_ok__a_busy_gateway_does_not_deceive() -> None:
    came = [1.0 + number * 0.001 for number in range(64)]
    seen = [max(at, 1.048) if at > 1.020 else at for at in came]
    assert lasting_rate(seen) == lasting_rate(came)


def test_ok__too_few_answers_say_nothing() -> None:
    assert lasting_rate([1.0, 2.0]) is None
