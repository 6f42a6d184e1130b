"""What the plugin knows: the hosts, wishes that wait, and what became of the last ones."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from plugins.wake_on_lan.rules import Target

KEPT = 64
"""Results that wait for their reader."""
MAX_WAITING = 32
MAX_LEARNED = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """`sent`: interfaces that the packet left by; `error` "" where nothing went wrong."""

    target: Target
    at: datetime
    sent: tuple[str, ...] = ()
    error: str = ""
    mend: str = ""


@dataclass
class WakeState:
    """`results` by number; None: not done yet. `last` by the host's name or hardware address."""

    hosts: dict[str, Target] = field(default_factory=dict)
    learned: OrderedDict[str, Target] = field(default_factory=OrderedDict)
    """By IPv4 address: hosts that were seen; the one that was not seen longest goes first."""
    learns: bool = True
    interfaces: frozenset[str] | None = None
    """Those with an attached network; None: not looked yet."""
    results: OrderedDict[int, Outcome | None] = field(default_factory=OrderedDict)
    last: OrderedDict[str, Outcome] = field(default_factory=OrderedDict)
    wishes: asyncio.Queue[tuple[int, Target]] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    count: int = 0
    woken: int = 0
    failed: int = 0

    def wish(self, target: Target) -> int | None:
        """The number of a new wish; None while too many wait."""
        if self.wishes.full():
            return None
        self.count += 1
        self.results[self.count] = None
        while len(self.results) > KEPT:
            self.results.popitem(last=False)
        self.wishes.put_nowait((self.count, target))
        return self.count

    def learn(self, seen: Iterable[Target]) -> bool:
        """Whether anything is new; each target's name is its address."""
        before = {name: target for name, target in self.learned.items()}
        for target in seen:
            self.learned[target.name] = target
            self.learned.move_to_end(target.name)
        while len(self.learned) > MAX_LEARNED:
            self.learned.popitem(last=False)
        return self.learned != before

    def done(self, number: int, outcome: Outcome) -> None:
        if number in self.results:
            self.results[number] = outcome
        self.last[outcome.target.label] = outcome
        self.last.move_to_end(outcome.target.label)
        while len(self.last) > KEPT:
            self.last.popitem(last=False)
        if outcome.error:
            self.failed += 1
        else:
            self.woken += 1
