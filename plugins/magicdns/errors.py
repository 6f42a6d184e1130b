"""Errors of this plugin: wrong settings, and upstream resolvers that fail."""

from __future__ import annotations

from appliance.api import SettingError
from appliance.types.errors import ApplianceError


class UpstreamSettingError(SettingError):
    """`key` names the entry that is no resolver."""


class RecordSettingError(SettingError):
    """`key` names the entry that is no record."""


class UpstreamError(ApplianceError):
    """A resolver cannot be reached, or answers nonsense."""

    code = "dns-upstream"


class NoUpstreamError(UpstreamError):
    """There is no resolver to ask about a name."""

    code = "dns-no-upstream"
