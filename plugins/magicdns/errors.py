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


class UntrustedError(UpstreamError):
    """A resolver shows a certificate that does not count."""

    code = "dns-upstream-untrusted"


class NoHttp2Error(UpstreamError):
    """A resolver speaks HTTP/1.1 alone."""


class CaFileError(UpstreamError):
    """The file with certificates of private authorities cannot be used."""

    code = "dns-ca-file"


class NoUpstreamError(UpstreamError):
    """There is no resolver to ask about a name."""

    code = "dns-no-upstream"
