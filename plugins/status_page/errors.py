"""Errors of this plugin that people see."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class RefusedRequestError(ApplianceError):
    """The guard turned a browser's request away. `status` is the HTTP status of the answer."""

    code = "page-request-refused"

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text, mend="open the page by its own address, which “waypost page” prints")
        self.status = status


class TypedError(ApplianceError):
    """What a person typed into a form cannot be read."""

    code = "page-typed"


class StaleFormError(ApplianceError):
    """Others changed the settings since the form was opened."""

    code = "page-stale-form"

    def __init__(self) -> None:
        text = "these settings were changed by somebody else since this form was opened"
        super().__init__(text, mend="what you typed is below; compare it with the gateway's page, then save again")
