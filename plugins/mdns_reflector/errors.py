"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class ReflectorSettingError(SettingError):
    """An entry of a list that cannot be; `mend` says what to write instead."""

    def __init__(self, key: str, index: int, text: str, *, mend: str) -> None:
        super().__init__(f"{key}[{index}]", text, mend=mend)
