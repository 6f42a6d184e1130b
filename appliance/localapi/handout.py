"""Hands out sockets of the mesh to local programs, one per conversation."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from appliance.localapi.access import RefusedError, may_write, uid_of
from appliance.localapi.mesh_routes import MeshBackend
from appliance.localapi.mesh_schema import MAX_MESSAGE_BYTES, Handout, HandoutRequest
from appliance.localapi.schema import ErrorReply
from appliance.types.errors import ApplianceError, PrivilegeError

log = structlog.get_logger("localapi")

MAX_CALLERS = 128
REQUEST_S = 5.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HandoutRequest).decode


class HandoutServer:
    """`operator` gives the user, besides root and the daemon's own, who may have sockets."""

    def __init__(self, backend: MeshBackend, path: str, operator: Callable[[], int | None]) -> None:
        self._backend = backend
        self._path = path
        self._operator = operator
        self._listener: socket.socket | None = None
        self._places = asyncio.Semaphore(MAX_CALLERS)

    def start(self) -> None:
        """Listen; what a killed daemon left is replaced. Raises `PrivilegeError`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108  # a socket
            listener.bind(self._path)
            os.chmod(self._path, 0o666)  # noqa: S103, PTH101  # who may have a socket is decided per caller
            listener.listen(MAX_CALLERS)
        except OSError as error:
            listener.close()
            text = f"cannot listen on {self._path}: {error.strerror or error}"
            raise PrivilegeError(text, mend="give another --socket", code="localapi-socket") from error
        self._listener = listener

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._places.acquire()
                try:
                    caller, _ = await loop.sock_accept(self._listener)
                except OSError as error:
                    self._places.release()
                    log.warning("a caller was lost", error=str(error))
                    await asyncio.sleep(0.1)  # no descriptors left: it would be ready again at once
                    continue
                except BaseException:
                    self._places.release()
                    raise
                group.create_task(self._serve(caller), name="handout")

    async def _serve(self, caller: socket.socket) -> None:
        try:
            with caller:
                await self._converse(caller)
        finally:
            self._places.release()

    async def _converse(self, caller: socket.socket) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                data = await asyncio.get_running_loop().sock_recv(caller, MAX_MESSAGE_BYTES)
            with await self._answer(caller, data) as handed:
                name = handed.getsockname()
                socket.send_fds(caller, [_encode(Handout(address=name[0], port=name[1]))], [handed.fileno()])
        except ApplianceError as error:
            refusal = ErrorReply(code=error.code, text=error.text, mend=error.mend)
            with suppress(OSError):
                caller.send(_encode(Handout(error=refusal)))
        except (TimeoutError, OSError) as error:  # the caller went away
            log.debug("nothing was handed out", error=str(error))

    async def _answer(self, caller: socket.socket, data: bytes) -> socket.socket:
        """Raises `ApplianceError`."""
        if not may_write(uid_of(caller), self._operator()):
            mend = "use sudo, or let root run: waypost set --operator=YOUR-USER"
            raise RefusedError("a socket in the mesh needs root or the gateway's operator", mend=mend)
        try:
            request = _decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ApplianceError("the request is not as the schema says", code="bad-request") from None
        try:
            return await self._backend.hand_out(request)
        except OSError as error:
            raise ApplianceError(f"no socket can be had: {error.strerror or error}", code="no-socket") from error

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108  # a socket of ours
