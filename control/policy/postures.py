"""Device postures: assertions about a node's attributes (policy-and-management spec 1.9).

A missing attribute makes every comparison false, so a node that tells nothing passes nothing. Versions compare number
by number ("1.10" is newer than "1.9").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AttributeValue = str | float | bool
MAX_ASSERTIONS = 64
MAX_ASSERTION_LETTERS = 1024

_ASSERTION = re.compile(
    r"\s*(?P<name>[A-Za-z][A-Za-z0-9_-]*:[A-Za-z0-9_.-]+)\s*"
    r"(?P<operator>==|!=|<=|>=|<|>|NOT\s+IN\b|IN\b|IS\s+SET\b|NOT\s+SET\b)\s*(?P<value>.*?)\s*",
    re.IGNORECASE | re.DOTALL,
)
_LITERAL = re.compile(r"'(?P<text>[^']*)'|(?P<number>-?[0-9]+(?:\.[0-9]+)?)|(?P<word>true|false)", re.IGNORECASE)
_BUILT_IN = (
    "node:os", "node:osVersion", "node:tsVersion", "node:tsReleaseTrack", "node:tsAutoUpdate",
    "node:tsStateEncrypted", "ip:country",
)  # fmt: skip
_UNARY = frozenset({"IS SET", "NOT SET"})
_SETS = frozenset({"IN", "NOT IN"})


@dataclass(frozen=True, slots=True)
class Assertion:
    """`attribute operator values`; one value except for IN and NOT IN, none for IS SET and NOT SET."""

    attribute: str
    operator: str
    values: tuple[AttributeValue, ...]

    def holds(self, attributes: Mapping[str, AttributeValue]) -> bool:
        actual = attributes.get(self.attribute)
        if self.operator in _UNARY:
            return (actual is not None) is (self.operator == "IS SET")
        if actual is None:
            return False
        if self.operator in _SETS:
            return any(_equal(actual, value) for value in self.values) is (self.operator == "IN")
        return _COMPARE[self.operator](actual, self.values[0])


@dataclass(frozen=True, slots=True)
class Posture:
    """All assertions must hold."""

    assertions: tuple[Assertion, ...]

    def holds(self, attributes: Mapping[str, AttributeValue]) -> bool:
        return all(assertion.holds(attributes) for assertion in self.assertions)


def parse_assertion(text: str) -> Assertion:
    """`node:os == 'linux'` and the like. Raises `ValueError` with what is wrong."""
    match = _ASSERTION.fullmatch(text) if len(text) <= MAX_ASSERTION_LETTERS else None
    if match is None:
        raise ValueError(f"not an assertion: {text[:80]!r}; write attribute OP value, as node:os == 'linux'")
    operator = " ".join(match["operator"].upper().split())
    values = _values(operator, match["value"])
    name = match["name"]
    if name.startswith(("node:", "ip:")) and name not in _BUILT_IN:
        raise ValueError(f"unknown attribute {name}; {did_you_mean(name, _BUILT_IN) or ', '.join(_BUILT_IN)}")
    return Assertion(name, operator, values)


def _values(operator: str, text: str) -> tuple[AttributeValue, ...]:
    if operator in _UNARY:
        if text:
            raise ValueError(f"{operator} takes no value; remove {text}")
        return ()
    if operator not in _SETS:
        return (_literal(text),)
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(f"{operator} needs a list; write ['a', 'b']")
    found: list[AttributeValue] = []
    rest = text[1:-1].strip()
    while rest:
        match = _LITERAL.match(rest)
        if match is None:
            raise ValueError(f"not a value: {rest}; strings stand in single quotes")
        found.append(_value_of(match))
        rest = rest[match.end() :].strip()
        if rest and not rest.startswith(","):
            raise ValueError(f"no comma before {rest}")
        rest = rest.removeprefix(",").strip()
    return tuple(found)


def _literal(text: str) -> AttributeValue:
    match = _LITERAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a value: {text or 'nothing'}; strings stand in single quotes, as 'linux'")
    return _value_of(match)


def _value_of(match: re.Match[str]) -> AttributeValue:
    if match["text"] is not None:
        return match["text"]
    return float(match["number"]) if match["number"] else match["word"].lower() == "true"


def _equal(one: AttributeValue, other: AttributeValue) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one == other or (_is_version(one) and _is_version(other) and _version(one) == _version(other))
    return one == other


def _order(one: AttributeValue, other: AttributeValue) -> int | None:
    """-1, 0 or 1; None where the two cannot be ordered."""
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) is not isinstance(other, str):
        return None
    if isinstance(one, str) and isinstance(other, str):
        first, second = _version(one), _version(other)
        return (first > second) - (first < second)
    return (one > other) - (one < other)  # type: ignore[operator]  # both are numbers


def _is_version(text: str) -> bool:
    return text[:1].isdigit()


def _version(text: str) -> tuple[tuple[int, str], ...]:
    """Dotted parts as numbers, without trailing zero parts; what is not a number compares as text below numbers."""
    core = text.split("-", 1)[0]
    parts = [(int(part), "") if part.isdecimal() and len(part) < 19 else (-1, part) for part in core.split(".")]
    while len(parts) > 1 and parts[-1] == (0, ""):
        parts.pop()
    return tuple(parts)


_COMPARE: Mapping[str, Callable[[AttributeValue, AttributeValue], bool]] = {
    "==": _equal,
    "!=": lambda one, other: not _equal(one, other),
    "<": lambda one, other: _order(one, other) == -1,
    "<=": lambda one, other: _order(one, other) in (-1, 0),
    ">": lambda one, other: _order(one, other) == 1,
    ">=": lambda one, other: _order(one, other) in (0, 1),
}
