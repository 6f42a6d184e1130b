"""What the handlers of the admin socket share: who asks, bodies, answers, and the socket itself."""

from __future__ import annotations

import os
import socket
import struct
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from appliance.types.errors import ApplianceError, StateError
from control.policy.problems import PolicyError
from control.service import present
from control.service.actor import Actor, local_admin
from control.service.errors import DeniedError, ServiceError
from control.state.engines import DatabaseAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOST = "waypost-control"
"""The Host header of every request; pages in a browser cannot send it."""
MAX_BODY_BYTES = 16 << 20
_UCRED = struct.Struct("3i")
_log = structlog.get_logger("control.admin")
B = TypeVar("B", bound=msgspec.Struct)


def listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600; a socket file that nobody answers on is replaced."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket():
            _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old_mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(old_mask)
        listener.listen(64)
        return listener
    except OSError as error:
        mend = "name another place with --socket, or start it by its unit"
        raise StateError(f"cannot make the admin socket {path}: {error.strerror or error}", mend=mend) from error


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    mend = "stop it first, or name another place with --socket and --data-dir"
    raise StateError(f"another control server is running on {path}", mend=mend)


def actor_of(request: web.Request) -> Actor:
    """Root and the server's own user only, by SO_PEERCRED. Raises `DeniedError`."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None and sock.family == socket.AF_UNIX:
        _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid in (0, os.geteuid()):
            return local_admin(uid)
    raise DeniedError("this socket serves root and the server's own user only", mend="run the command with sudo")


def path_name(request: web.Request) -> str:
    return request.match_info["name"]


def life_of(seconds: float | None) -> timedelta | None:
    if seconds is None:
        return None
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise ServiceError("the expiration is too far away", mend="give less, or never") from None


async def read_body(request: web.Request, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except RecursionError:
        raise ServiceError("the request cannot be read: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(f"the request cannot be read: {error}") from None


def json_reply(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.headers.get("Host") != HOST or "Origin" in request.headers:
            raise DeniedError("this socket serves waypost-control only")
        return await handler(request)
    except PolicyError as error:
        problems = [present.problem_json(problem) for problem in error.problems]
        return json_reply({"code": error.code, "text": error.text, "mend": error.mend, "problems": problems}, 400)
    except ApplianceError as error:
        status = error.status if isinstance(error, ServiceError | DatabaseAwayError) else 500
        if status == 500:
            _log.warning("an admin request failed", path=request.path, error=error.text)
        return json_reply({"code": error.code, "text": error.text, "mend": error.mend}, status)
    except web.HTTPException as error:
        return json_reply(
            {"code": "http", "text": f"{request.method} {request.path}: {error.reason}", "mend": ""}, error.status
        )
