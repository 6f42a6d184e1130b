"""Where and why a policy is wrong, and what to write instead (policy-and-management spec 1.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.types.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column in the policy text, both from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `text` is exact, `mend` says what to write; a warning does not refuse the policy."""

    place: Place
    text: str
    mend: str = ""
    warning: bool = False

    def __str__(self) -> str:
        hint = f" ({self.mend})" if self.mend else ""
        return f"{self.place}: {self.text}{hint}"


class PolicyError(ApplianceError):
    """A policy is refused; `problems` lists every reason, in the order of the text."""

    code = "policy"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.place))
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first.place}: {first.text}{more}", mend=first.mend)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name within edit distance 2 of `name`, None if there is none."""
    best: tuple[int, str] | None = None
    for candidate in known:
        distance = _edit_distance(name.lower(), candidate.lower(), limit=2)
        if distance is not None and (best is None or (distance, candidate) < best):
            best = (distance, candidate)
    return None if best is None else best[1]


def _edit_distance(one: str, other: str, limit: int) -> int | None:
    if abs(len(one) - len(other)) > limit or len(one) > 256:
        return None
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        previous, row[0] = row[0], index
        for column, against in enumerate(other, 1):
            replaced = previous + (letter != against)
            previous = row[column]
            row[column] = min(row[column] + 1, row[column - 1] + 1, replaced)
    return row[-1] if row[-1] <= limit else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean "x"?`, or nothing."""
    guess = nearest(name, known)
    return f'did you mean "{guess}"?' if guess else ""
