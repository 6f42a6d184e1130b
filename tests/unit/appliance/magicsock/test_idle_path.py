import pytest

from appliance.magicsock.idle_path import CLIFFS, CYCLE_INTERVAL, PATIENCE, PINGS, SLACK, Idle, IdlePath
from appliance.types.addresses import AddrPort

PATH, OTHER = AddrPort("192.0.2.2", 41641), AddrPort("192.0.2.3", 41641)


class Session:
    """A path through a NAT that forgets after `timeout` seconds of silence, from a session that ends at 0."""

    def __init__(self, timeout: float, idle: IdlePath | None = None, start: float = 0.0) -> None:
        self.timeout = timeout
        self.idle = idle or IdlePath()
        self.pings: list[float] = []
        self.used_at = self.now = start
        self.dead = False
        self.idle.stop()
        self.idle.begin(PATH, start, start)

    def run(self, until: float) -> None:
        while (at := self.idle.next_at) is not None and at <= until:
            self.now = at
            match self.idle.step(at):
                case Idle.PING:
                    self.pings.append(at)
                    if at - self.used_at <= self.timeout:
                        self.used_at = at
                        self.idle.answered(at)
                case Idle.DEAD:
                    self.dead = True
        self.now = until


@pytest.mark.parametrize(("timeout", "survives"), [(5, 0), (20, 10), (30, 30), (45, 30), (60, 60), (300, 60)])
def test_ok__longest_silence_that_is_survived_is_learned(timeout, survives):
    session = Session(timeout)
    assert session.idle.survives_s is None
    session.run(300)
    assert session.idle.survives_s == survives
    assert session.dead == (survives < 60)


def test_ok__what_was_learned_sets_the_pace_of_the_next_idle_time():
    first = Session(45)
    first.run(200)
    second = Session(45, first.idle, start=1000.0)
    second.run(1000 + 10 * (30 - SLACK))
    assert [round(b - a) for a, b in zip(second.pings, second.pings[1:], strict=False)] == [28] * 9
    assert not second.dead


def test_ok__path_that_cannot_be_kept_costs_nothing_until_the_next_day():
    first = Session(5)
    first.run(100)
    second = Session(5, first.idle, start=1000.0)
    second.run(CYCLE_INTERVAL)
    assert second.pings == []
    third = Session(300, first.idle, start=CYCLE_INTERVAL + 100)
    third.run(CYCLE_INTERVAL + 400)
    assert third.idle.survives_s == 60


def test_ok__unused_path_is_let_go():
    session = Session(300)
    session.run(100 * 3600)
    assert len(session.pings) == PINGS
    assert session.idle.next_at is None


def test_ok__learning_goes_on_where_traffic_ended_it():
    first = Session(300)
    first.run(12)
    assert first.idle.survives_s == CLIFFS[0]
    second = Session(300, first.idle, start=100.0)
    second.run(100 + 30)
    assert second.idle.survives_s == CLIFFS[1]
    assert second.pings == [100 + CLIFFS[1] - SLACK]


def test_ok__dead_path_is_found_out_and_learned_anew():
    session = Session(60)
    session.run(150)
    session.timeout = 1
    session.run(158 + 58 + sum(PATIENCE) + 1)
    assert session.dead
    assert session.idle.survives_s is None


def test_ok__traffic_of_the_peer_puts_the_question_off():
    idle = IdlePath()
    idle.begin(PATH, 0.0, 0.0)
    idle.heard(5.0)
    assert idle.next_at == 5.0 + CLIFFS[0] - SLACK


def test_ok__another_path_is_learned_anew():
    session = Session(300)
    session.run(200)
    session.idle.stop()
    session.idle.begin(OTHER, 300.0, 300.0)
    assert session.idle.survives_s is None


def test_fail__question_that_was_slept_over_teaches_nothing():
    idle = IdlePath()
    idle.begin(PATH, 0.0, 0.0)
    assert idle.step(40.0) is Idle.WAIT
    assert idle.survives_s is None
    idle.begin(PATH, 0.0, 41.0)
    assert idle.next_at is None


def test_fail__answers_to_nothing_teach_nothing():
    idle = IdlePath()
    idle.begin(PATH, 0.0, 0.0)
    idle.answered(1.0)
    assert idle.survives_s is None
