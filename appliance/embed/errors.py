"""What can go wrong with an embedded node."""

from __future__ import annotations

from appliance.types.errors import ApplianceError


class NodeError(ApplianceError):
    """The node did not start, has ended, or was refused; `text` says why, `mend` what to do."""

    code = "embedded-node"


class LoginNeededError(NodeError):
    """Somebody must open `url`, and nobody was there to be told (`on_login`)."""

    code = "login-needed"

    def __init__(self, url: str) -> None:
        super().__init__(f"the node needs a login: {url}", mend="open it, or give auth_key")
        self.url = url
