"""Section `ssh` (policy-and-management spec 1.7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from control.policy.model import SshRule
from control.policy.selectors import Kind

if TYPE_CHECKING:
    from control.policy.hujson import Value
    from control.policy.reader import Reader
    from control.policy.selectors import Selector

SOURCES = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG, Kind.MEMBER, Kind.TAGGED, Kind.ROLE})
DESTINATIONS = frozenset({Kind.USER, Kind.TAG, Kind.SELF, Kind.MEMBER, Kind.TAGGED})
DEFAULT_CHECK_S = 12 * 3600.0
MAX_CHECK_S = 168 * 3600.0
_TAGGED = frozenset({Kind.TAG, Kind.TAGGED})
_OF_PEOPLE = frozenset({Kind.USER, Kind.SELF, Kind.MEMBER})
_DURATION = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?(?:ms|h|m|s))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FIELDS = (
    "action", "src", "dst", "users", "checkPeriod", "acceptEnv", "recorder", "enforceRecorder", "srcPosture",
)  # fmt: skip


class SshReader:
    def __init__(self, reader: Reader, default_posture: tuple[str, ...]) -> None:
        self._reader = reader
        self._default_posture = default_posture

    def read(self, section: Value | None) -> tuple[SshRule, ...]:
        found = (self._rule(item) for item in self._reader.items(section, "ssh"))
        return tuple(rule for rule in found if rule is not None)

    def _rule(self, item: Value) -> SshRule | None:
        fields = self._reader.fields(item, "a rule of ssh", _FIELDS)
        if not item.is_object:
            return None
        check = self._check(item, fields)
        sources = self._sources(fields.get("src"))
        destinations = self._destinations(fields.get("dst"))
        for name in ("src", "dst"):
            if name not in fields:
                self._reader.problem(item.place, f'rule without "{name}"', f'add "{name}": […]')
        self._check_pairs(item, sources, destinations)
        posture = fields.get("srcPosture")
        return SshRule(
            place=item.place,
            sources=sources,
            destinations=destinations,
            users=self._users(item, fields.get("users")),
            check_period_s=check,
            accept_env=self._accept_env(fields.get("acceptEnv")),
            recorders=self._recorders(fields.get("recorder")),
            enforce_recorder=self._reader.flag(fields.get("enforceRecorder"), "enforceRecorder"),
            postures=self._default_posture if posture is None else self._reader.posture_names(posture),
        )

    def _check(self, item: Value, fields: dict[str, Value]) -> float | None:
        """Seconds, or None for a rule that accepts at once."""
        value, period = fields.get("action"), fields.get("checkPeriod")
        action = self._reader.text(value, "action").strip()
        mend = 'write "action": "accept" or "check"'
        if not action:
            self._reader.problem(item.place if value is None else value.place, "action must be specified", mend)
        elif action not in ("accept", "check"):
            assert value is not None
            self._reader.problem(value.place, f'"{action}" is not a valid action', mend)
        if period is None or period.data is None:
            return DEFAULT_CHECK_S if action == "check" else None
        if action == "accept":
            self._reader.problem(period.place, "checkPeriod needs the action check", 'write "action": "check"')
        return self._period(period) if action == "check" else None

    def _period(self, value: Value) -> float:
        text = self._reader.text(value, "checkPeriod").strip()
        if text == "always":
            return 0.0
        seconds = parse_duration(text)
        if seconds is None:
            self._reader.problem(value.place, f'time: invalid duration "{text}"', 'write "12h", "20m" or "always"')
        elif seconds < 0:
            text = f"checkPeriod {_shown(seconds)} must be a positive duration"
            self._reader.problem(value.place, text, 'write "12h"')
        elif seconds > MAX_CHECK_S:
            self._reader.problem(
                value.place, f"checkPeriod {_shown(seconds)} is above the max (168h)", 'write "168h" at most'
            )
        else:
            return seconds
        return DEFAULT_CHECK_S

    def _sources(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._reader.strings(value, "src"):
            selector = self._reader.selector(text, place, "src=")
            if selector is not None and selector.kind not in SOURCES:
                mend = "users, groups, tags, autogroup:member and autogroup:tagged are sources"
                self._reader.problem(place, f'invalid src "{text}"', mend)
            elif selector is not None:
                found.append(selector)
        return tuple(found)

    def _destinations(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._reader.strings(value, "dst"):
            selector = self._reader.selector(text, place, f'dst="{text}": ')
            if selector is not None and selector.kind not in DESTINATIONS:
                mend = "users, tags, autogroup:self, autogroup:member and autogroup:tagged are destinations"
                self._reader.problem(place, f'invalid dst "{text}"', mend)
            elif selector is not None:
                found.append(selector)
        return tuple(found)

    def _check_pairs(self, item: Value, sources: tuple[Selector, ...], dsts: tuple[Selector, ...]) -> None:
        people = [one for one in dsts if one.kind in _OF_PEOPLE]
        if people and any(one.kind in _TAGGED for one in sources):
            text = f'tagged sources may not reach "{people[0].text}"'
            self._reader.problem(item.place, text, "tags reach tags only")
        users = [one for one in dsts if one.kind is Kind.USER]
        if users and any(sources != (one,) for one in users):
            text = f'dst "{users[0].text}" is only valid if the only src is that user'
            self._reader.problem(item.place, text, 'write "autogroup:self"')

    def _users(self, item: Value, value: Value | None) -> tuple[str, ...]:
        if value is None or value.data is None or value.data == ():
            place = item.place if value is None else value.place
            self._reader.problem(place, "users must be specified", 'add "users": ["autogroup:nonroot"]')
            return ()
        found: list[str] = []
        for text, place in self._reader.strings(value, "users"):
            if text in ("", "*"):
                mend = 'write a login name, or "autogroup:nonroot"'
                self._reader.problem(place, f'user "{text}" is not valid', mend)
            elif text.startswith("autogroup:") and text != "autogroup:nonroot":
                self._reader.problem(place, f'user "{text}" is not valid', 'write "autogroup:nonroot"')
            else:
                found.append(text)
        return tuple(dict.fromkeys(found))

    def _accept_env(self, value: Value | None) -> tuple[str, ...]:
        found = self._reader.strings(value, "acceptEnv")
        for text, place in found:
            if not text:
                self._reader.problem(place, "acceptEnv values cannot be empty", "remove it")
        return tuple(text for text, _ in found if text)

    def _recorders(self, value: Value | None) -> tuple[str, ...]:
        found: list[str] = []
        for text, place in self._reader.strings(value, "recorder"):
            if not text.startswith("tag:"):
                self._reader.problem(place, f'recorder "{text}" is not a tag', 'write "tag:…"')
            elif self._reader.selector(text, place, "recorder: ") is not None:
                found.append(text)
        return tuple(found)


def parse_duration(text: str) -> float | None:
    """`1h30m`, `90s`, `-1m` in seconds; None if it is not one."""
    if text == "0":
        return 0.0
    if len(text) > 40 or not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def _shown(seconds: float) -> str:
    """As `168h0m1s`."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(left, 3600)
    minutes, rest = divmod(rest, 60)
    last = f"{rest:g}s"
    if hours:
        return f"{sign}{int(hours)}h{int(minutes)}m{last}"
    return f"{sign}{int(minutes)}m{last}" if minutes else sign + last
