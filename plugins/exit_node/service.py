"""The running part: measures the exits and, with `use = "auto"`, goes to another one when the exit is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from appliance.api import HostHandle, LogLevel, RefreshKind
from plugins.exit_node.config import AUTO
from plugins.exit_node.rules import Measure, is_lost, measures, suggest
from plugins.exit_node.state import ExitState

INTERVAL_S = 2.0
MEASURE_S = 60.0
HOLD_S = 4.0
"""An exit that is lost for a shorter time is waited for: going elsewhere ends every connection."""
STORE_KEY = "automatic-exit"


class ExitWatch:
    """`state` gives the plugin's state; `learned` and `pick` change it."""

    name = "exit-watch"

    def __init__(
        self,
        host: HostHandle,
        state: Callable[[], ExitState],
        learned: Callable[[Mapping[str, Measure]], None],
        pick: Callable[[str], None],
    ) -> None:
        self._host = host
        self._state = state
        self._learned = learned
        self._pick = pick
        self._measured_at: float | None = None
        self._known: frozenset[str] = frozenset()
        self._lost_at: float | None = None
        self._told = ""
        """The exit that control was told last."""

    async def run(self) -> NoReturn:
        stored = await self._host.store_get(STORE_KEY)
        if stored and not self._state().picked:
            self._pick(stored.decode("ascii", "replace"))
            await self._refresh("the exit of the last run")
        while True:
            await self._look()
            await self._host.sleep(INTERVAL_S)

    async def _look(self) -> None:
        now, state = await self._host.now(), self._state()
        exits = frozenset(state.exits)
        due = self._measured_at is None or now - self._measured_at >= MEASURE_S
        if exits and (due or exits != self._known):
            await self._measure(exits)
            self._measured_at, self._known = now, exits
        if state.config.use == AUTO and state.approved is not None:
            await self._keep_exit(now)
        chosen = self._state().chosen
        now_used = chosen.stable_id if chosen is not None else ""
        if now_used != self._told:
            self._told = now_used
            await self._host.request_refresh(RefreshKind.HOSTINFO, "another exit")

    async def _measure(self, exits: frozenset[str]) -> None:
        status = await self._host.status()
        self._learned(measures(status.peers, exits, status.derp.latency_s))

    async def _keep_exit(self, now: float) -> None:
        """The first choice at once; later ones when the exit was lost for a while and another is there."""
        state = self._state()
        if not is_lost(state.chosen):
            self._lost_at = None
            return
        self._lost_at = now if self._lost_at is None else self._lost_at
        best = suggest(state.sorted_exits, state.measures, state.config.regions, state.picked)
        if best is None or best.stable_id == state.picked:
            return
        if state.picked and now - self._lost_at < HOLD_S:
            return
        self._pick(best.stable_id)
        self._lost_at = None
        await self._host.store_put(STORE_KEY, best.stable_id.encode())
        await self._host.log(LogLevel.INFO, "exit_chosen", {"exit": best.name})
        await self._refresh(f"exit {best.name}")

    async def _refresh(self, reason: str) -> None:
        for kind in RefreshKind:
            await self._host.request_refresh(kind, reason)
