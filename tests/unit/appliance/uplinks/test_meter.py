from __future__ import annotations

import pytest

from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import encode_response, parse_request
from appliance.types.addresses import AddrPort
from appliance.uplinks.meter import ANSWER_LIMIT_S, DOWN_AFTER, QUICK_S, SLOW_S, WINDOW, Condition, UplinkMeter

SERVERS = (AddrPort("203.0.113.1", 3478), AddrPort("203.0.113.2", 3478))
MAPPED = AddrPort("198.51.100.1", 5000)


class Uplink:
    """A meter and a network that answers after `delay_s`, or not at all."""

    def __init__(self) -> None:
        self.now = 100.0
        self.meter = UplinkMeter(SeededRandomness(1), self.now)
        self.meter.set_targets(SERVERS)
        self.asked: list[AddrPort] = []

    def probe(self, delay_s: float | None = 0.02) -> None:
        request = None
        while request is None:
            due = self.meter.next_timer()
            assert due is not None
            self.now = max(self.now, due)
            request = self.meter.handle_timer(self.now)
        self.asked.append(request[0])
        if delay_s is None:
            self.now += ANSWER_LIMIT_S / 2
            assert self.meter.handle_timer(self.now) is None
            return
        self.now += delay_s
        assert self.meter.receive(encode_response(parse_request(request[1]), MAPPED), self.now)


@pytest.fixture
def uplink() -> Uplink:
    return Uplink()


def test_ok__latency_is_the_median_and_servers_take_turns(uplink: Uplink) -> None:
    for delay in (0.01, 0.5, 0.02):
        uplink.probe(delay)
    assert uplink.meter.quality().latency_s == pytest.approx(0.02)
    assert uplink.meter.quality().answered_in_a_row == 3
    assert set(uplink.asked) == set(SERVERS)


def test_ok__three_lost_in_a_row_are_down_and_one_answer_mends_it(uplink: Uplink) -> None:
    uplink.probe()
    for _ in range(DOWN_AFTER):
        assert uplink.meter.quality().condition is Condition.GOOD
        uplink.probe(None)
    uplink.meter.handle_timer(uplink.now + ANSWER_LIMIT_S)
    quality = uplink.meter.quality()
    assert quality.condition is Condition.DOWN
    assert quality.silent_since is not None
    assert quality.answered_at is not None
    assert quality.answered_at < quality.silent_since
    again = Uplink()
    again.meter = uplink.meter
    again.now = uplink.now + ANSWER_LIMIT_S
    waiting = again.meter.handle_timer(again.now)
    if waiting is not None:
        again.meter.failed()
    again.probe()
    assert again.meter.quality().condition is Condition.GOOD
    assert again.meter.quality().silent_since is None


def test_ok__loss_counts_after_enough_probes(uplink: Uplink) -> None:
    for number in range(WINDOW):
        uplink.probe(None if number % 3 == 0 else 0.02)
    quality = uplink.meter.quality()
    assert quality.condition is Condition.LOSSY
    assert 0.3 < quality.loss < 0.4


def test_ok__quick_and_slow(uplink: Uplink) -> None:
    uplink.probe()
    sent = uplink.now - 0.02
    assert uplink.meter.next_timer() == pytest.approx(sent + QUICK_S)
    uplink.meter.set_quick(False)
    assert uplink.meter.next_timer() == pytest.approx(sent + SLOW_S)


def test_fail__other_answers_and_none_to_ask(uplink: Uplink) -> None:
    request = uplink.meter.handle_timer(uplink.now)
    assert request is not None
    assert not uplink.meter.receive(encode_response(bytes(12), MAPPED), uplink.now)
    assert not uplink.meter.receive(b"noise", uplink.now)
    uplink.meter.failed()
    assert uplink.meter.quality().loss == 1.0
    quiet = UplinkMeter(SeededRandomness(1), 0.0)
    assert quiet.next_timer() is None
    assert quiet.handle_timer(5.0) is None
