"""The running part: measures the exits and, with `use = "auto"`, goes to another one when the exit is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from appliance.api import EgressUplink, HostHandle, LogLevel, RefreshKind
from plugins.exit_node.config import AUTO
from plugins.exit_node.rules import Exit, Measure, is_allowed, is_lost, measures
from plugins.exit_node.state import ExitState
from plugins.exit_node.uplink import is_there

INTERVAL_S = 2.0
MEASURE_S = 60.0
HOLD_S = 4.0
"""An exit that is lost for a shorter time is waited for: going elsewhere ends every connection."""
STORE_KEY = "automatic-exit"


class ExitWatch:
    """`state` gives the plugin's state; the other functions change it."""

    name = "exit-watch"

    def __init__(
        self,
        host: HostHandle,
        state: Callable[[], ExitState],
        learned: Callable[[Mapping[str, Measure]], None],
        pick: Callable[[str], None],
        uplink_seen: Callable[[bool, bool], None],
    ) -> None:
        self._host = host
        self._state = state
        self._learned = learned
        self._pick = pick
        self._uplink_seen = uplink_seen
        self._uplink_away_at: float | None = None
        self._uplink: EgressUplink | None = None
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
        await self._look_at_uplink(now)
        if state.config.use == AUTO and state.approved is not None:
            await self._keep_exit(now)
        chosen = self._state().chosen
        now_used = chosen.stable_id if chosen is not None else ""
        if now_used != self._told:
            self._told = now_used
            await self._host.request_refresh(RefreshKind.HOSTINFO, "another exit")

    async def _look_at_uplink(self, now: float) -> None:
        """An exit whose own uplink stays away is not offered, so that its users can go elsewhere."""
        state = self._state()
        uplink = state.uplink
        is_up = uplink is None or is_there(state.config, await self._host.attached_prefixes(), state.forwarder)
        if is_up:
            self._uplink_away_at = None
        elif self._uplink_away_at is None:
            self._uplink_away_at = now
        withdrawn = self._uplink_away_at is not None and now - self._uplink_away_at >= HOLD_S
        if (is_up, withdrawn, uplink) == (state.uplink_up, state.withdrawn, self._uplink):
            return
        self._uplink = uplink
        self._uplink_seen(is_up, withdrawn)
        await self._refresh("the exit's uplink is there" if is_up else "the exit's uplink is away")

    async def _measure(self, exits: frozenset[str]) -> None:
        status = await self._host.status()
        self._learned(measures(status.peers, exits, status.derp.latency_s))

    async def _keep_exit(self, now: float) -> None:
        """The first choice, and another region, at once; later ones when the exit was lost for a while."""
        state = self._state()
        allowed = is_allowed(state.chosen, state.measures, state.config.regions)
        if allowed and not is_lost(state.chosen):
            self._lost_at = None
            return
        self._lost_at = now if self._lost_at is None else self._lost_at
        best = state.best
        if best is None and not allowed:
            await self._take(None)
        if best is None or best.stable_id == state.picked:
            return
        if state.picked and allowed and now - self._lost_at < HOLD_S:
            return
        await self._take(best)

    async def _take(self, best: Exit | None) -> None:
        """None: there is no exit in the regions that the settings allow, and nothing leaves."""
        self._pick(best.stable_id if best is not None else "")
        self._lost_at = None
        if best is not None:
            await self._host.store_put(STORE_KEY, best.stable_id.encode())
        name = best.name if best is not None else ""
        await self._host.log(LogLevel.INFO, "exit_chosen", {"exit": name})
        await self._refresh(f"exit {name}")

    async def _refresh(self, reason: str) -> None:
        for kind in RefreshKind:
            await self._host.request_refresh(kind, reason)
