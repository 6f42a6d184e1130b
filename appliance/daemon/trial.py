"""Commit-confirm: settings on trial, which go back by themselves unless somebody confirms them in time.

A change made from afar may cut off the one who made it. What was in force before is stored before anything changes, so
that a crash or a reboot meanwhile ends in the old settings too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from appliance.health.tracker import HealthTracker
from appliance.ports.clock import Clock
from appliance.ports.store import StateStore
from appliance.state.document import DamagedStateError, Document
from appliance.state.profiles import Prefs
from appliance.types.errors import ApplianceError, ConfigError, Severity

log = structlog.get_logger("trial")

HEALTH = "unconfirmed-settings"
REVERTED_HEALTH = "settings-reverted"
LEAST_S, MOST_S = 5.0, 86400.0
RETRY_S = 10.0
_LOGIN = ("want_running", "logged_out", "control_url")
"""Not a matter of settings: `up`, `down` and logins stand whatever becomes of a trial."""


class StoredTrial(msgspec.Struct, frozen=True, kw_only=True):
    """`trial.json`: what to go back to. Times are this machine's, in UTC."""

    before: Prefs
    begun_at: datetime
    deadline: datetime


class NothingToConfirmError(ApplianceError):
    code = "nothing-to-confirm"

    def __init__(self) -> None:
        super().__init__("no settings wait for a confirmation", mend="they were confirmed or reverted: waypost status")


def checked_span(seconds: float) -> float:
    """Raises `ConfigError` for a time that nobody can keep."""
    if not LEAST_S <= seconds <= MOST_S:
        text = f"{seconds:g} s is no time to confirm within"
        raise ConfigError(text, mend=f"give a time from {LEAST_S:g} seconds to 24 hours")
    return seconds


class Trial:
    """`put_back(prefs)` makes them the preferences again; it raises `ApplianceError` when that fails."""

    def __init__(
        self,
        store: StateStore,
        profile_folder: str,
        clock: Clock,
        health: HealthTracker,
        put_back: Callable[[Prefs], Awaitable[None]],
    ) -> None:
        self._document: Document[StoredTrial] = Document(store, f"{profile_folder}/trial.json", StoredTrial)
        self._clock = clock
        self._health = health
        self._put_back = put_back
        self._stored: StoredTrial | None = None
        self._ends_at = 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until the settings go back; None = nothing is on trial."""
        return None if self._stored is None else max(0.0, self._ends_at - self._clock.now())

    def begin(self, before: Prefs, within_s: float) -> None:
        """Call it before the change. A trial under way goes on with a new time. Raises `StateError`."""
        now = self._clock.wall_now()
        kept = before if self._stored is None else self._stored.before
        stored = StoredTrial(before=kept, begun_at=now, deadline=now + timedelta(seconds=within_s))
        self._document.save(stored)
        self._stored, self._ends_at = stored, self._clock.now() + within_s
        self._health.clear(REVERTED_HEALTH)
        self._show()

    @contextmanager
    def around(self, before: Prefs, within_s: float | UnsetType) -> Iterator[None]:
        """Make a change inside; it is on trial when `within_s` is given. A change that fails leaves nothing behind."""
        if within_s is UNSET:
            yield
            return
        is_first = self._stored is None
        self.begin(before, checked_span(within_s))
        try:
            yield
        except BaseException:
            if is_first:
                self._end()
            raise

    def confirm(self) -> None:
        """The settings stay. Raises `NothingToConfirmError`, `StateError`."""
        if self._stored is None:
            raise NothingToConfirmError
        self._end()
        log.info("settings confirmed")

    async def resume(self) -> None:
        """At a start: what was on trial goes back when its time is over, or when the clock cannot tell."""
        try:
            stored = self._document.load()
        except DamagedStateError as error:
            log.error("the record of a trial is damaged, the present settings stay", error=error.text)
            self._document.delete()
            return
        if stored is None:
            return
        self._stored = stored
        now = self._clock.wall_now()
        certain = stored.begun_at <= now < stored.deadline
        self._ends_at = self._clock.now() + ((stored.deadline - now).total_seconds() if certain else 0.0)
        self._show()
        await self.poll()

    async def poll(self) -> None:
        """Called about once a second."""
        stored = self._stored
        if stored is None or self._clock.now() < self._ends_at:
            return
        try:
            await self._put_back(stored.before)
            self._end()
        except ApplianceError as error:
            log.error("settings could not be put back", error=error.text)
            self._ends_at = self._clock.now() + RETRY_S
            return
        log.warning("settings went back: nobody confirmed them")
        text = "the last change of settings was taken back: nobody confirmed it in time"
        self._health.set(REVERTED_HEALTH, text, mend="make it again, then run: waypost confirm", severity=Severity.LOW)

    def _end(self) -> None:
        self._document.delete()
        self._stored = None
        self._health.clear(HEALTH)

    def _show(self) -> None:
        assert self._stored is not None
        at = self._stored.deadline.astimezone(UTC).strftime("%H:%M:%S UTC")
        text = f"the last change of settings is on trial: it goes back at {at}"
        self._health.set(HEALTH, text, mend="keep it: waypost confirm")


def gone_back(before: Prefs, present: Prefs) -> Prefs:
    """The settings of `before` with the login state of `present`."""
    return msgspec.structs.replace(before, **{name: getattr(present, name) for name in _LOGIN})
