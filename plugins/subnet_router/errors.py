"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class RouteSettingError(SettingError):
    """Entry `index` of `advertise_routes` cannot be advertised."""

    def __init__(self, index: int, text: str, *, mend: str) -> None:
        super().__init__(f"advertise_routes[{index}]", text, mend=mend)
