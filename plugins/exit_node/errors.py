"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class ExitSettingError(SettingError):
    """A setting that cannot be; `mend` says what to write instead."""

    def __init__(self, key: str, text: str, *, mend: str) -> None:
        super().__init__(key, text, mend=mend)


class ProxyRefusedError(OSError):
    """The proxy answered, but not with a connection."""
