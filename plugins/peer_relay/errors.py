"""Errors of this plugin's settings and commands."""

from __future__ import annotations

from appliance.api import SettingError


class EndpointSettingError(SettingError):
    """Entry `index` of `static_endpoints` is no address of this relay."""

    def __init__(self, index: int, text: str) -> None:
        mend = "write it as 203.0.113.5:41642 or [2001:db8::5]:41642"
        super().__init__(f"static_endpoints[{index}]", text, mend=mend)
