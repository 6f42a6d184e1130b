"""Error roots of the whole product.

Every error that may reach a person descends from `ApplianceError`: a stable `code`, one clear line, and the
`mend` (what the reader should do). Wire parsers raise `DecodeError` and nothing else (style.md 5.6).
"""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """Health severity of an error, in the words of the field's health messages."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class ApplianceError(Exception):
    """Root of all errors that are shown to people.

    `code` is stable and machine-readable; `text` says what is wrong and where; `mend` says what to do about it.
    """

    code = "internal"
    severity = Severity.MEDIUM

    def __init__(self, text: str, *, mend: str = "", code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend
        if code is not None:
            self.code = code

    def line(self) -> str:
        """The error and its mend as one line for a terminal."""
        return f"{self.text} ({self.mend})" if self.mend else self.text


class ConfigError(ApplianceError):
    """A setting is wrong; `text` names the key path. `key` is that path alone, where one setting is to blame."""

    code = "config"

    def __init__(self, text: str, *, mend: str = "", code: str | None = None, key: str = "") -> None:
        super().__init__(text, mend=mend, code=code)
        self.key = key


class StateError(ApplianceError):
    """Stored state cannot be read or written."""

    code = "state"
    severity = Severity.HIGH


class PrivilegeError(ApplianceError):
    """The process lacks a privilege or a kernel feature that it needs."""

    code = "privilege"
    severity = Severity.HIGH


class UnderlayError(ApplianceError):
    """A socket, a device or the network below the tunnel refuses to work."""

    code = "underlay"


class ControlError(ApplianceError):
    """The control server refused or could not be reached."""

    code = "control"


class DecodeReason(StrEnum):
    """Why bytes from outside were refused; becomes the label of a counter."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    BAD_LENGTH = "bad_length"
    BAD_MAGIC = "bad_magic"
    BAD_TYPE = "bad_type"
    BAD_VERSION = "bad_version"
    BAD_VALUE = "bad_value"
    BAD_KEY = "bad_key"
    BAD_TEXT = "bad_text"
    BAD_JSON = "bad_json"
    BAD_CIPHERTEXT = "bad_ciphertext"
    BAD_CHECKSUM = "bad_checksum"
    UNEXPECTED = "unexpected"


class DecodeError(ApplianceError):
    """Bytes or text from outside do not follow their specification; the only error that a parser raises."""

    code = "decode"
    severity = Severity.LOW

    def __init__(self, reason: DecodeReason, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else str(reason))
        self.reason = reason
