"""Errors of this plugin's settings."""

from __future__ import annotations

from appliance.api import SettingError


class AppSettingError(SettingError):
    """`key` names the app's entry that is wrong."""
