"""What names resolve to, passed from the plugin that resolves them to those that may know: a numbered, bounded feed."""

from __future__ import annotations

import asyncio
from collections import deque

from appliance.api.dns import DnsAnswer, DnsAnswers

KEPT = 512
"""Answers that wait for a slow reader; older ones are lost."""


class AnswerFeed:
    """One per process. Belongs to one event loop."""

    def __init__(self) -> None:
        self._answers: deque[tuple[int, DnsAnswer]] = deque(maxlen=KEPT)
        self._number = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def note(self, answer: DnsAnswer) -> None:
        self._number += 1
        self._answers.append((self._number, answer))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, after: int) -> DnsAnswers:
        """Those later than number `after`, at once where there are any; -1: from now on. One from the future is 0."""
        after = self._number if after < 0 else after if after <= self._number else 0
        while after == self._number:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return DnsAnswers(self._number, tuple(answer for number, answer in self._answers if number > after))
