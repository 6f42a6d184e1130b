"""Reading JSON values of a policy with every problem noted at its place; shared by the readers of the sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control.policy.hujson import Member, Value
from control.policy.problems import Place, Problem, did_you_mean
from control.policy.selectors import Kind, Names, Selector, SelectorError, parse_selector

if TYPE_CHECKING:
    from collections.abc import Collection


class Reader:
    """Collects problems; `names` grows as the sections that define names are read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.names = Names(groups={}, hosts={}, tags={}, ipsets={})
        self.postures: Collection[str] = ()
        self.users: dict[str, Place] = {}

    def problem(self, place: Place, text: str, mend: str = "") -> None:
        self.problems.append(Problem(place, text, mend))

    def fields(self, value: Value, what: str, known: tuple[str, ...]) -> dict[str, Value]:
        """Members of an object under their proper names; matches case-insensitively, skips `#` names."""
        proper = {name.lower(): name for name in known}
        found: dict[str, Value] = {}
        for member in self.members(value, what):
            name = proper.get(member.name.lower())
            if name is None:
                if not member.name.startswith("#"):
                    mend = did_you_mean(member.name, known) or f"known here: {', '.join(known)}"
                    self.problem(member.place, f'unknown field: "{member.name}"', mend)
            elif name in found:
                self.problem(member.place, f'"{member.name}" stands here twice', "join the two")
            else:
                found[name] = member.value
        return found

    def members(self, value: Value | None, what: str) -> tuple[Member, ...]:
        if value is None:
            return ()
        if not value.is_object:
            self.problem(value.place, f"{what} must be an object, not {value.kind}", "write { … }")
            return ()
        return tuple(item for item in value.data if isinstance(item, Member))  # type: ignore[union-attr]  # an object

    def unique_members(self, value: Value | None, what: str) -> tuple[Member, ...]:
        """Members of an object that defines names; a name that stands there twice is a problem."""
        found: dict[str, Member] = {}
        for member in self.members(value, what):
            if member.name in found:
                self.problem(member.place, f'{what}: "{member.name}" stands here twice', "join the two")
            found.setdefault(member.name, member)
        return tuple(found.values())

    def items(self, value: Value | None, what: str) -> tuple[Value, ...]:
        if value is None:
            return ()
        if value.is_object or not isinstance(value.data, tuple):
            self.problem(value.place, f"{what} must be a list, not {value.kind}", "write [ … ]")
            return ()
        return tuple(item for item in value.data if isinstance(item, Value))

    def strings(self, value: Value | None, what: str) -> list[tuple[str, Place]]:
        found: list[tuple[str, Place]] = []
        for item in self.items(value, what):
            if isinstance(item.data, str):
                found.append((item.data.strip(), item.place))
            else:
                self.problem(item.place, f"{what} holds {item.kind} where a string belongs", 'write "…"')
        return found

    def text(self, value: Value | None, what: str) -> str:
        if value is None:
            return ""
        if not isinstance(value.data, str):
            self.problem(value.place, f"{what} must be a string, not {value.kind}", 'write "…"')
            return ""
        return value.data

    def flag(self, value: Value | None, what: str) -> bool:
        if value is None:
            return False
        if not isinstance(value.data, bool):
            self.problem(value.place, f"{what} must be true or false, not {value.kind}", "write true or false")
            return False
        return value.data

    def selector(self, text: str, place: Place, prefix: str) -> Selector | None:
        """A selector, or None with a problem noted; `prefix` goes before its text."""
        try:
            selector = parse_selector(text, self.names)
        except SelectorError as error:
            self.problem(place, prefix + error.text, error.mend)
            return None
        if selector.kind is Kind.USER:
            self.users.setdefault(selector.value, place)
        return selector

    def selectors(
        self, value: Value | None, what: str, allowed: frozenset[Kind], mend: str, prefix: str | None = None
    ) -> tuple[Selector, ...]:
        """Selectors of the allowed kinds; the others are problems."""
        found: list[Selector] = []
        for text, place in self.strings(value, what):
            selector = self.selector(text, place, f"{what}: " if prefix is None else prefix)
            if selector is None:
                continue
            if selector.kind not in allowed:
                self.problem(place, f'{what}: "{text}" is not valid here', mend)
            else:
                found.append(selector)
        return tuple(found)

    def posture_names(self, value: Value | None) -> tuple[str, ...]:
        """`srcPosture`: names that `postures` defines."""
        found: list[str] = []
        for text, place in self.strings(value, "srcPosture"):
            if text in self.postures:
                found.append(text)
            else:
                mend = did_you_mean(text, self.postures) or f'add "{text}" to postures'
                self.problem(place, f'posture not found: "{text}"', mend)
        return tuple(found)


def plain(value: Value) -> Any:
    """A value as Python's own JSON types."""
    if value.is_object:
        members = (item for item in value.data if isinstance(item, Member))  # type: ignore[union-attr]  # an object
        return {member.name: plain(member.value) for member in members}
    if isinstance(value.data, tuple):
        return [plain(item) for item in value.data if isinstance(item, Value)]
    return value.data
