"""Who may call: local programs only, never a page in a browser; everyone reads, few write."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from appliance.localapi.schema import HOST
from appliance.types.errors import ApplianceError

_UCRED = struct.Struct("3i")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(ApplianceError):
    """The caller may not do this."""

    code = "refused"


def header_problem(headers: Mapping[str, str]) -> str:
    """Why a request is not one of a local program, or ""; browsers always send one of these."""
    if headers.get("Host", "") != HOST:
        return f"the Host header must be {HOST}"
    for name in ("Origin", "Referer", "Sec-Fetch-Site"):
        if name in headers:
            return f"requests with {name} are not served"
    return ""


def uid_of(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket, by SO_PEERCRED. Raises OSError."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def peer_uid(request: web.Request) -> int | None:
    """User id of the calling process, None when the kernel does not say."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    return uid_of(sock)


def may_write(uid: int | None, operator: int | None) -> bool:
    """Root, the daemon's own user and the operator."""
    return uid is not None and (uid in (0, os.geteuid()) or (operator is not None and uid == operator))
