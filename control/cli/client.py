"""The CLI's side of the admin socket: HTTP over a Unix socket with the standard library, so that commands start fast.

Every failure becomes an `ApplianceError` with the mend.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote

from appliance.types.errors import ApplianceError

DEFAULT_SOCKET = "/run/waypost-control/admin.sock"
HOST = "waypost-control"
TIMEOUT_S = 60.0


class ServerUnreachableError(ApplianceError):
    """The control server does not answer on its socket."""

    code = "server-unreachable"


class RemoteError(ApplianceError):
    """The server refused; `problems` where a policy is wrong."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(
            str(reply.get("text") or "the server refused"),
            mend=str(reply.get("mend") or ""),
            code=str(reply.get("code") or "refused"),
        )
        self.problems: list[dict[str, Any]] = list(reply.get("problems") or ())


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__(HOST, timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminClient:
    """Calls one control server. Path parts are quoted here."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(self, method: str, *parts: str, body: dict[str, Any] | None = None, query: str = "") -> Any:
        """The JSON answer of `/v1/<parts>`. Raises `ServerUnreachableError` and `RemoteError`."""
        target = "/v1/" + "/".join(quote(part, safe="") for part in parts) + query
        data = None if body is None else json.dumps(body).encode()
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, target, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return self._read(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _read(self, status: int, data: bytes) -> Any:
        try:
            reply = json.loads(data)
        except ValueError:
            raise RemoteError({"text": f"the server answered {status} without JSON"}) from None
        if status >= 400:
            raise RemoteError(reply if isinstance(reply, dict) else {})
        return reply

    def _unreachable(self, error: Exception) -> ServerUnreachableError:
        if isinstance(error, PermissionError):
            return ServerUnreachableError(f"no access to {self._path}", mend="run the command with sudo")
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            mend = "start it with: waypost-control serve; or name its socket with --socket"
            return ServerUnreachableError(f"no control server answers at {self._path}", mend=mend)
        return ServerUnreachableError(f"the control server at {self._path} failed: {error}", mend="look at its log")
