"""Settings that the control server sends: `control.remote_settings` of the configuration lets them in."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import structlog

from appliance.c2n.settings import RemoteSettings
from appliance.localapi.schema import PrefsPatch, PrefsView
from appliance.types.errors import ApplianceError

log = structlog.get_logger("waypostd")


class SettingsOwner(Protocol):
    async def set_prefs(self, patch: PrefsPatch) -> PrefsView: ...

    async def confirm(self) -> PrefsView: ...


class RemoteSettingsDesk:
    """`SettingsDoor` over the gateway."""

    def __init__(self, owner: SettingsOwner, *, allowed: bool) -> None:
        self._owner = owner
        self._allowed = allowed

    async def change(self, settings: RemoteSettings) -> dict[str, Any]:
        self._check()
        given = {name: getattr(settings, name) for name in settings.__struct_fields__}
        log.info("settings from the control server", on_trial_s=settings.confirm_within_s)
        return _shown(await self._owner.set_prefs(PrefsPatch(**given)))

    async def confirm(self) -> dict[str, Any]:
        self._check()
        return _shown(await self._owner.confirm())

    def _check(self) -> None:
        if not self._allowed:
            text = "this gateway takes no settings from its control server"
            mend = "set remote_settings = true under [control] in its waypost.toml"
            raise ApplianceError(text, mend=mend, code="not-allowed")


def _shown(view: PrefsView) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(view)
    return shown
