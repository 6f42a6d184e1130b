"""The running part: follows the host's own networks, and withdraws LANs that cannot be reached from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NoReturn

from appliance.api import AttachedPrefix, HostHandle, LogLevel, RefreshKind
from plugins.subnet_router.lan_gate import LanGate
from plugins.subnet_router.nudge import Nudge
from plugins.subnet_router.rules import link_problem, probes_in
from plugins.subnet_router.sharing import AddressShare
from plugins.subnet_router.state import RouterState

INTERVAL_S = 1.0
DOUBT_S = 0.3
"""Instead of it while a probe did not answer or a link is newly gone."""
PROBE_LIMIT_S = 0.6
"""A LAN that fell silent is left within 2.5 s: TCP repeats 3 s after the loss, and again only 3 s later."""


class LanWatch:
    """Looks at every nudge, and now and then: what is added by hand or breaks behind the cable comes without one.

    `saw` and `gate` change the plugin's state, which `state` gives.
    """

    name = "lan-watch"

    def __init__(
        self,
        host: HostHandle,
        state: Callable[[], RouterState],
        saw: Callable[[tuple[AttachedPrefix, ...]], None],
        gate: Callable[[Mapping[str, str]], None],
    ) -> None:
        self.nudge = Nudge(host.sleep)
        self._host = host
        self._state = state
        self._saw = saw
        self._tell = gate
        self._gate = LanGate()
        self._were_attached: frozenset[str] = frozenset()
        self._known: tuple[AttachedPrefix, ...] | None = None
        self._wanted: tuple[str, ...] = ()
        self._share = AddressShare(host)

    async def run(self) -> NoReturn:
        try:
            await self._watch()
        finally:
            await self._share.follow(frozenset())

    async def _watch(self) -> NoReturn:
        while True:
            attached = await self._host.attached_prefixes()
            if attached != self._known:
                await self._changed(attached)
            unlinked = self._unlinked(attached)
            silent = await self._silent_probes(unlinked)
            doubtful = await self._judge(unlinked, silent)
            await self._share.follow(self._state().share_places)
            await self.nudge.rest(DOUBT_S if silent or doubtful else INTERVAL_S)

    async def _changed(self, attached: tuple[AttachedPrefix, ...]) -> None:
        first, self._known = self._known is None, attached
        self._were_attached |= {lan.prefix for lan in attached}
        self._saw(attached)
        wanted = self._state().wanted
        if wanted != self._wanted:
            self._wanted = wanted
            await self._host.request_refresh(RefreshKind.HOSTINFO, "own networks changed")
        if not first:
            await self._host.request_router_refresh("own networks changed")
            await self._host.log(LogLevel.INFO, "own_networks_changed", {"prefixes": [lan.prefix for lan in attached]})

    def _unlinked(self, attached: tuple[AttachedPrefix, ...]) -> dict[str, str]:
        """Routes whose LAN has no link here, with the reason."""
        state = self._state()
        found = ((each, link_problem(state.lan_of(each), attached, self._were_attached)) for each in state.wanted)
        return {route: problem for route, problem in found if problem}

    async def _judge(self, unlinked: Mapping[str, str], silent: frozenset[str]) -> bool:
        """Look at every LAN that is to be offered; tell control when what is offered changes. Whether to look soon."""
        wanted = self._state().wanted
        now = await self._host.now()
        for route in wanted:
            probes = self._probes_of(route)
            probe = f"{', '.join(probes)} does not answer" if probes and silent.issuperset(probes) else ""
            self._gate.observe(route, now, link=unlinked.get(route, ""), probe=probe)
        self._gate.keep(frozenset(wanted))
        lost = self._gate.lost()
        if lost.keys() != self._state().lost.keys():
            self._tell(lost)
            await self._host.log(LogLevel.WARNING, "served_networks_changed", {"lost": dict(lost)})
            for kind in (RefreshKind.HOSTINFO, RefreshKind.STATUS):
                await self._host.request_refresh(kind, "a network was lost or is back")
        return not unlinked.keys() <= lost.keys()

    def _probes_of(self, route: str) -> tuple[str, ...]:
        return probes_in(self._state().lan_of(route), self._state().config.probes)

    async def _silent_probes(self, unlinked: Mapping[str, str]) -> frozenset[str]:
        """All are asked at once, except those of LANs that have no link: nothing is to be waited for there."""
        cut_off = {probe for route in unlinked for probe in self._probes_of(route)}
        probes = [each for each in self._state().config.probes if each not in cut_off]
        async with asyncio.TaskGroup() as group:
            asked = {each: group.create_task(self._host.reach(each, PROBE_LIMIT_S)) for each in probes}
        return frozenset(each for each, task in asked.items() if task.result() is None)
