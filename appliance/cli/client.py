"""The CLI's side of the local API: HTTP over a Unix socket with the standard library only, so that commands start fast.

Every failure becomes an `ApplianceError` with the mend.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from appliance.localapi.schema import API, HOST, TRACE_HEADER, ErrorReply
from appliance.types.errors import ApplianceError

T = TypeVar("T")
TIMEOUT_S = 30.0


class DaemonUnreachableError(ApplianceError):
    """waypostd does not answer on its socket."""

    code = "daemon-unreachable"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(HOST, timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class LocalClient:
    """Calls one daemon. One trace id marks all calls of a command in the logs of both sides."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.trace = os.urandom(8).hex()

    def get(self, name: str, kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
        return self._call("GET", name, None, kind, timeout_s)

    def post(self, name: str, body: Any, kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
        return self._call("POST", name, body, kind, timeout_s)

    def patch(self, name: str, body: Any, kind: type[T]) -> T:
        return self._call("PATCH", name, body, kind)

    def raw(self, name: str, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """The JSON text of an answer."""
        connection, response = self._send("GET", name, None, timeout_s)
        try:
            return response.read()
        finally:
            connection.close()

    def stream(self, name: str, kind: type[T]) -> Iterator[T]:
        """Lines of a stream until the daemon ends it."""
        connection, response = self._send("GET", name, None, TIMEOUT_S)
        try:
            while line := response.readline():
                yield msgspec.json.decode(line, type=kind)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _call(self, method: str, name: str, body: Any, kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
        connection, response = self._send(method, name, body, timeout_s)
        try:
            return msgspec.json.decode(response.read(), type=kind)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _send(
        self, method: str, name: str, body: Any, timeout_s: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self._path, timeout_s)
        data = None if body is None else msgspec.json.encode(body)
        headers = {TRACE_HEADER: self.trace, "Content-Type": "application/json"}
        try:
            connection.request(method, f"{API}/{name}", body=data, headers=headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        except ApplianceError:
            connection.close()
            raise
        return connection, response

    def _unreachable(self, error: Exception) -> DaemonUnreachableError:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            mend = "start it with: systemctl start waypostd; a socket elsewhere is named by --socket"
            return DaemonUnreachableError(f"waypostd is not running: nothing listens on {self._path}", mend=mend)
        if isinstance(error, PermissionError):
            text = f"no permission to open {self._path}"
            return DaemonUnreachableError(text, mend="use sudo, or check the rights of its folder")
        if isinstance(error, TimeoutError):
            mend = "see its log: journalctl -u waypostd"
            return DaemonUnreachableError("waypostd did not answer in time", mend=mend)
        mend = "see its log: journalctl -u waypostd"
        return DaemonUnreachableError(f"waypostd ended the conversation: {error}", mend=mend)


def _refusal(status: int, body: bytes) -> ApplianceError:
    try:
        reply = msgspec.json.decode(body, type=ErrorReply)
    except msgspec.MsgspecError:
        mend = "is something else serving that socket?"
        return ApplianceError(f"waypostd answered with HTTP status {status}", mend=mend, code="http")
    return ApplianceError(reply.text, mend=reply.mend, code=reply.code)
