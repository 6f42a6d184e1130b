"""What can go wrong toward the control server, in words for people."""

from __future__ import annotations

from appliance.types.errors import ControlError, Severity


class BadControlUrl(ControlError):
    """The configured URL cannot be one of a control server."""

    code = "control-url"


class ControlUnreachable(ControlError):
    """No connection: name, route, port, TLS, or the server went away."""

    code = "control-unreachable"


class NotAControlServer(ControlError):
    """Something answers at the URL, but it does not speak the control protocol."""

    code = "not-a-control-server"


class ControlRefused(ControlError):
    """The control server answered a request with an error. `status` is the HTTP status."""

    code = "control-refused"

    def __init__(self, status: int, text: str, *, mend: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(text, mend=mend)
        self.status = status
        self.retry_after_s = retry_after_s


class BadAuthKey(ControlError):
    """The pre-auth key was refused."""

    code = "bad-auth-key"
    severity = Severity.HIGH


class LoginRefused(ControlError):
    """The server refuses this node, and no key of ours changes that."""

    code = "login-refused"
    severity = Severity.HIGH


class LoginNeeded(ControlError):
    """The server wants this node to log in anew."""

    code = "needs-login"


class ProtocolError(ControlError):
    """The control server broke the protocol."""

    code = "control-protocol"
