"""Commit-confirm on a virtual clock; the state folder outlives the process."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from msgspec import UNSET

from appliance.daemon.trial import (
    HEALTH,
    RETRY_S,
    REVERTED_HEALTH,
    NothingToConfirmError,
    Trial,
    checked_span,
    gone_back,
)
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.ports.store import MemoryStore
from appliance.state.profiles import Prefs
from appliance.types.errors import ConfigError, StateError

BEFORE = Prefs(hostname="before", shields_up=False)


@dataclass
class Machine:
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: VirtualClock = field(default_factory=VirtualClock)
    put_back: list[Prefs] = field(default_factory=list)
    refuse: int = 0

    def start(self) -> Trial:
        self.health = HealthTracker(EventBus(), self.clock)
        return Trial(self.store, "profiles/x", self.clock, self.health, self._put_back)

    async def _put_back(self, prefs: Prefs) -> None:
        if self.refuse:
            self.refuse -= 1
            raise StateError("disk full")
        self.put_back.append(prefs)

    def codes(self) -> list[str]:
        return [item.code for item in self.health.items()]


async def test_ok__confirmed_settings_stay() -> None:
    machine = Machine()
    trial = machine.start()
    trial.begin(BEFORE, 60)
    machine.clock.advance(20)
    await trial.poll()
    assert trial.left_s == 40
    assert machine.codes() == [HEALTH]
    trial.confirm()
    machine.clock.advance(60)
    await trial.poll()
    assert machine.put_back == []
    assert machine.codes() == []
    assert machine.store.documents == {}
    with pytest.raises(NothingToConfirmError):
        trial.confirm()


async def test_ok__unconfirmed_settings_go_back() -> None:
    machine = Machine()
    trial = machine.start()
    trial.begin(BEFORE, 60)
    machine.clock.advance(60)
    await trial.poll()
    assert machine.put_back == [BEFORE]
    assert machine.codes() == [REVERTED_HEALTH]
    assert trial.left_s is None
    assert machine.store.documents == {}


async def test_ok__second_change_keeps_what_was_before_the_first() -> None:
    machine = Machine()
    trial = machine.start()
    trial.begin(BEFORE, 60)
    machine.clock.advance(50)
    trial.begin(Prefs(hostname="between"), 60)
    machine.clock.advance(50)
    await trial.poll()
    assert machine.put_back == []
    machine.clock.advance(10)
    await trial.poll()
    assert machine.put_back == [BEFORE]


@pytest.mark.parametrize(("pause_s", "jump_s"), [(60, 0), (3600, 0), (1, 400 * 86400), (1, -400 * 86400)])
async def test_ok__restart_after_the_deadline_or_with_a_clock_that_jumped(pause_s: float, jump_s: float) -> None:
    machine = Machine()
    machine.start().begin(BEFORE, 60)
    machine.clock.advance(pause_s)
    machine.clock.jump_wall(jump_s)
    await machine.start().resume()
    assert machine.put_back == [BEFORE]


async def test_ok__restart_before_the_deadline_goes_on() -> None:
    machine = Machine()
    machine.start().begin(BEFORE, 60)
    machine.clock.advance(10)
    trial = machine.start()
    await trial.resume()
    assert machine.put_back == []
    assert trial.left_s == 50
    assert machine.codes() == [HEALTH]
    machine.clock.jump_wall(-1e6)  # while it runs the wall clock does not count
    machine.clock.advance(50)
    await trial.poll()
    assert machine.put_back == [BEFORE]


async def test_ok__change_inside() -> None:
    trial = Machine().start()
    with trial.around(BEFORE, UNSET):
        pass
    assert trial.left_s is None
    with trial.around(BEFORE, 60):
        pass
    assert trial.left_s == 60


async def test_fail__change_that_fails_is_not_on_trial() -> None:
    machine = Machine()
    trial = machine.start()
    with pytest.raises(ConfigError), trial.around(BEFORE, 60):
        raise ConfigError("wrong")
    assert trial.left_s is None
    assert machine.store.documents == {}
    trial.begin(BEFORE, 60)
    with pytest.raises(ConfigError), trial.around(Prefs(), 90):
        raise ConfigError("wrong")
    assert trial.left_s == 90  # the first change is still there


async def test_ok__start_without_a_trial_does_nothing() -> None:
    machine = Machine()
    trial = machine.start()
    await trial.resume()
    await trial.poll()
    assert machine.put_back == []


async def test_fail__damaged_record_keeps_the_present_settings() -> None:
    machine = Machine()
    machine.store.documents["profiles/x/trial.json"] = b"{"
    await machine.start().resume()
    assert machine.put_back == []
    assert machine.store.documents == {}


async def test_fail__going_back_is_tried_again() -> None:
    machine = Machine(refuse=1)
    trial = machine.start()
    trial.begin(BEFORE, 60)
    machine.clock.advance(60)
    await trial.poll()
    assert machine.put_back == []
    assert HEALTH in machine.codes()
    machine.clock.advance(RETRY_S)
    await trial.poll()
    assert machine.put_back == [BEFORE]


@pytest.mark.parametrize("seconds", [0, 4.9, -1, 86401, float("nan"), float("inf")])
def test_fail__span(seconds: float) -> None:
    with pytest.raises(ConfigError):
        checked_span(seconds)


def test_ok__logins_are_no_setting() -> None:
    now = Prefs(want_running=True, control_url="https://new", hostname="after")
    assert gone_back(BEFORE, now) == Prefs(want_running=True, control_url="https://new", hostname="before")
