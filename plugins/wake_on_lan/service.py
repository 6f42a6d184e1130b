"""The running part: carries wishes out, one after the other."""

from __future__ import annotations

from typing import NoReturn

from appliance.api import HostHandle, JsonValue, LogLevel, RefreshKind
from appliance.types.errors import ApplianceError
from plugins.wake_on_lan.rules import Target
from plugins.wake_on_lan.state import Outcome, WakeState


class Waker:
    name = "waker"

    def __init__(self, host: HostHandle, state: WakeState) -> None:
        self._host = host
        self._state = state

    async def run(self) -> NoReturn:
        while True:
            number, target = await self._state.wishes.get()
            outcome = await self._woken(target)
            self._state.done(number, outcome)
            fields: dict[str, JsonValue] = {"host": target.label, "mac": target.mac, "error": outcome.error}
            fields["sent"] = list(outcome.sent)
            await self._host.log(LogLevel.INFO, "host_woken", fields)
            await self._host.request_refresh(RefreshKind.STATUS, "a host was woken")

    async def _woken(self, target: Target) -> Outcome:
        at = await self._host.wall_now()
        try:
            report = await self._host.wake(target.mac, target.interface, target.via)
        except ApplianceError as error:
            return Outcome(target, at, error=error.text, mend=error.mend)
        if not report.sent:
            reason = "; ".join(report.errors) or "no network took the packet"
            return Outcome(target, at, error=reason, mend="is the interface up? see: ip address")
        return Outcome(target, at, report.sent)
