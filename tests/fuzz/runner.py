"""Coverage-guided fuzzing without anything to install: mutate, run, keep what reaches new lines of our code.

A target raises nothing for any input; what it raises is a finding, and so is an input that takes longer than
`LIMIT_S` of processor time. The same seed gives the same inputs in the same order.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.mutation import mutate

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 2.0
"""Processor time of one input; a parser of ours takes well under a millisecond."""
FRESH = 0.05
"""Share of inputs that are random bytes rather than children of the corpus."""


@dataclass(frozen=True)
class Target:
    """One parser. `run` swallows the errors that the parser documents; `watched` are folders whose lines count."""

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    watched: tuple[str, ...]
    words: Sequence[bytes] = ()


@dataclass(frozen=True)
class Finding:
    """An input that broke a target."""

    target: str
    data: bytes
    error: str

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.error}\n  input ({len(self.data)} bytes): {self.data.hex()}\n"
            f"  again: python -m tests.fuzz --input {self.data.hex()} {self.target}"
        )


@dataclass
class Outcome:
    target: str
    runs: int = 0
    seconds: float = 0.0
    lines: int = 0
    corpus: int = 0
    finding: Finding | None = None


class TooSlow(Exception):
    """An input used up its processor time."""


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"more than {LIMIT_S:g} s of processor time")


def run_one(target: Target, data: bytes) -> Finding | None:
    """One input; the finding when the target does not hold. Main thread only (it uses SIGPROF)."""
    before = signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        target.run(data)
    except Exception as error:  # whatever it is, it is what we look for
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Finding(
            target.name, data, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return None


@dataclass
class Coverage:
    """Steps from line to line in the watched folders, by a trace function."""

    folders: tuple[str, ...]
    seen: set[tuple[CodeType, int, int]] = field(default_factory=set)
    _last: int = 0
    _ours: dict[CodeType, bool] = field(default_factory=dict)

    def __enter__(self) -> Coverage:
        sys.settrace(self._enter_frame)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter_frame(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(self.folders)
        if not ours:
            return None
        self._last = 0
        return self._enter_line

    def _enter_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            line = frame.f_lineno
            self.seen.add((frame.f_code, self._last, line))
            self._last = line
        return self._enter_line


def fuzz(target: Target, seed: int, *, seconds: float = float("inf"), runs: int = sys.maxsize) -> Outcome:
    """Run until time or runs are over, or something is found."""
    random = Random(f"{target.name}:{seed}")
    coverage = Coverage(tuple(str(ROOT / folder) for folder in target.watched))
    outcome = Outcome(target.name)
    corpus: list[bytes] = []
    waiting = [b"", *target.seeds]
    started = time.monotonic()
    gc.freeze()
    while outcome.runs < runs and (waiting or (outcome.seconds < seconds)):
        first = bool(waiting)
        data = waiting.pop(0) if first else _next_input(target, corpus, random)
        known = len(coverage.seen)
        with coverage:
            outcome.finding = run_one(target, data)
        outcome.runs += 1
        outcome.seconds = time.monotonic() - started
        if outcome.finding is not None:
            break
        if first or len(coverage.seen) > known:
            corpus.append(data)
    outcome.lines, outcome.corpus = len(coverage.seen), len(corpus)
    return outcome


def _next_input(target: Target, corpus: Sequence[bytes], random: Random) -> bytes:
    if random.random() < FRESH:
        return random.randbytes(random.randrange(200))
    # The newest inputs reached something new: they get half of the turns.
    recent = corpus[-8:] if random.random() < 0.5 else corpus
    return mutate(random.choice(recent), corpus, target.words, random)
