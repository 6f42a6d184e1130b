"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class RouteSettingError(SettingError):
    """Entry `index` of the list `key` cannot be."""

    def __init__(self, index: int, text: str, *, key: str = "advertise_routes", mend: str) -> None:
        super().__init__(f"{key}[{index}]", text, mend=mend)
