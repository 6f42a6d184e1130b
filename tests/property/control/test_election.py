"""Pairs of routers through random lives, beside a naive account of what may happen to a subnet."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control.service.election import elect

pytestmark = [pytest.mark.timeout(60)]

ROUTERS = st.integers(1, 4)


class Lives(RuleBasedStateMachine):
    """Routers offer the subnet and withdraw it, come, go silent, go away; after each step the primary is elected."""

    def __init__(self) -> None:
        super().__init__()
        self.offering: set[int] = set()
        self.ranks = dict.fromkeys(range(1, 5), 0)
        self.before: int | None = None
        self.primary: int | None = None

    def _elect(self) -> None:
        self.before = self.primary
        self.primary = elect(self.offering, self.primary, self.ranks.__getitem__)

    @rule(router=ROUTERS)
    def offers(self, router: int) -> None:
        self.offering.add(router)
        self._elect()

    @rule(router=ROUTERS)
    def withdraws(self, router: int) -> None:
        self.offering.discard(router)
        self._elect()

    @rule(router=ROUTERS, rank=st.integers(0, 2))
    def changes(self, router: int, rank: int) -> None:
        self.ranks[router] = rank
        self._elect()

    @invariant()
    def only_who_offers_serves(self) -> None:
        assert self.primary is None or self.primary in self.offering

    @invariant()
    def somebody_serves_where_somebody_can(self) -> None:
        if any(self.ranks[one] for one in self.offering):
            assert self.primary is not None

    @invariant()
    def nobody_better_stands_by(self) -> None:
        if self.primary is not None:
            assert all(self.ranks[one] <= self.ranks[self.primary] for one in self.offering)

    @invariant()
    def a_subnet_moves_only_to_somebody_better(self) -> None:
        before, now = self.before, self.primary
        if before is not None and now is not None and before != now and before in self.offering:
            assert self.ranks[now] > self.ranks[before]

    @invariant()
    def the_lowest_takes_over(self) -> None:
        if self.primary is not None and self.primary != self.before:
            equal = [one for one in self.offering if self.ranks[one] == self.ranks[self.primary]]
            assert self.primary == min(equal)


Lives.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestElection = Lives.TestCase
