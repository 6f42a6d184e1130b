"""Errors of this plugin that people see."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class CodeRefusedError(ApplianceError):
    """A one-time code is wrong, used or too old."""

    code = "page-code-refused"

    def __init__(self) -> None:
        super().__init__("this code is wrong, was used already or is too old", mend="get a new one: waypost page")


class TooManyTriesError(ApplianceError):
    """Wrong codes came too fast. `wait_s`: seconds until the next try counts."""

    code = "page-too-many-tries"

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many wrong codes", mend=f"try again in {wait_s} seconds")
        self.wait_s = wait_s
