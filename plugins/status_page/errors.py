"""Errors of this plugin that people see."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class RefusedRequestError(ApplianceError):
    """The guard turned a browser's request away. `status` is the HTTP status of the answer."""

    code = "page-request-refused"

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text, mend="open the page by its own address, which “waypost page” prints")
        self.status = status
