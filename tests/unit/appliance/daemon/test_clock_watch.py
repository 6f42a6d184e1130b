"""Sleep, jumps and wrong dates, on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from appliance.daemon.clock_watch import HEALTH, RELEASED, ClockWatch, span
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.types.errors import Severity

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR_S = 365 * 86400


@dataclass
class Watched:
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(wall=NOW))
    slept: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health = HealthTracker(EventBus(), self.clock)
        self.watch = ClockWatch(
            self.clock,
            self.health,
            on_sleep=self.slept.append,
            on_jump=lambda forward: self.jumps.append(forward.total_seconds()),
        )


def test_ok__time_passes() -> None:
    watched = Watched()
    for _ in range(100):
        watched.clock.advance(1.5)
        watched.watch.look(timedelta())
    assert (watched.slept, watched.jumps, watched.health.items()) == ([], [], [])


def test_ok__sleep_is_a_late_look() -> None:
    watched = Watched()
    watched.clock.advance(11)
    watched.watch.look(None)
    assert watched.slept == [11]
    assert watched.jumps == []


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 3, -3])
def test_ok__somebody_sets_the_clock(jump_s: float) -> None:
    watched = Watched()
    watched.clock.advance(1)
    watched.clock.jump_wall(jump_s)
    watched.watch.look(None)
    assert watched.jumps == [jump_s]
    assert watched.slept == []


@pytest.mark.parametrize(
    ("skew_s", "severity", "words"),
    [
        (600, Severity.MEDIUM, "10 minutes behind"),
        (-600, Severity.MEDIUM, "10 minutes ahead"),
        (YEAR_S, Severity.HIGH, "1 year behind"),
    ],
)
def test_ok__control_says_that_the_clock_is_wrong(skew_s: float, severity: Severity, words: str) -> None:
    watched = Watched()
    watched.watch.look(timedelta(seconds=skew_s))
    (item,) = watched.health.items()
    assert (item.code, item.severity) == (HEALTH, severity)
    assert words in item.text
    assert "certificates" in item.text
    assert "timedatectl" in item.mend
    watched.watch.look(timedelta(seconds=299))
    assert watched.health.items() == []


def test_ok__correcting_the_clock_mends_it_before_control_speaks_again() -> None:
    watched = Watched(VirtualClock(wall=NOW - timedelta(days=365)))
    watched.watch.look(timedelta(days=365))
    assert watched.health.items()
    watched.clock.jump_wall(YEAR_S)
    watched.watch.look(timedelta(days=365))
    assert watched.jumps == [YEAR_S]
    assert watched.health.items() == []


def test_ok__board_without_a_clock_of_its_own() -> None:
    watched = Watched(VirtualClock(wall=datetime(1970, 1, 1, tzinfo=UTC)))
    watched.watch.look(None)
    assert "1970-01-01" in watched.health.items()[0].text
    watched.clock.jump_wall((NOW - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    watched.watch.look(None, not_before=RELEASED)
    assert watched.health.items() == []


def test_ok__earlier_than_the_saved_netmap_cannot_be() -> None:
    watched = Watched()
    watched.watch.look(None, not_before=NOW + timedelta(days=30))
    assert "30 days behind" in watched.health.items()[0].text


def test_ok__span() -> None:
    assert [span(timedelta(seconds=n)) for n in (59, 60, 7200, YEAR_S)] == [
        "59 seconds",
        "1 minute",
        "2 hours",
        "1 year",
    ]
