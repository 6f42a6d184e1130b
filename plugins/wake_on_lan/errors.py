"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class HostSettingError(SettingError):
    """A host that cannot be; `mend` says what to write instead."""

    def __init__(self, name: str, text: str, *, mend: str) -> None:
        super().__init__(f"hosts.{name[:64]}", text, mend=mend)
