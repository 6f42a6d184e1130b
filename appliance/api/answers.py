"""What names resolve to, passed from the plugin that resolves them to those that may know: a numbered, bounded feed."""

from __future__ import annotations

from collections import deque

from appliance.api.dns import DnsAnswer, DnsAnswers
from appliance.api.numbered import Numbered

KEPT = 512
"""Answers that wait for a slow reader; older ones are lost."""


class AnswerFeed(Numbered):
    def __init__(self) -> None:
        super().__init__()
        self._answers: deque[tuple[int, DnsAnswer]] = deque(maxlen=KEPT)

    def note(self, answer: DnsAnswer) -> None:
        self._answers.append((self._count(), answer))

    async def wait(self, after: int) -> DnsAnswers:
        """Those later than number `after`, at once where there are any; -1: from now on. One from the future is 0."""
        after = self._number if after < 0 else after if after <= self._number else 0
        await self._later_than(after)
        return DnsAnswers(self._number, tuple(answer for number, answer in self._answers if number > after))
