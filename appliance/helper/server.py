"""One connection after the other: who is it, one request, one reply, gone.

Nobody waits for a caller that says nothing: each step of a connection has a time-out.
"""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress

from appliance.helper.verbs import Caller, Desk
from appliance.proto.helper.messages import MAX_MESSAGE_BYTES, encode_message

CALLER_TIMEOUT_S = 2.0
_UCRED = struct.Struct("3i")


class HelperServer:
    """Serves `listener` until `stop` is called (signal handlers may), or until nobody called for `idle_s`."""

    def __init__(self, listener: socket.socket, desk: Desk, *, idle_s: float | None = None) -> None:
        self._listener = listener
        self._desk = desk
        self._idle_s = idle_s
        self._ended, self._end = socket.socketpair()
        self._end.setblocking(False)

    def run(self) -> None:
        self._listener.setblocking(False)
        with self._ended, self._end:
            while True:
                ready, _, _ = select.select([self._listener, self._ended], [], [], self._idle_s)
                if not ready or self._ended in ready:
                    return
                with suppress(OSError):  # the caller is gone already, or descriptors are short: the next one counts
                    connection, _ = self._listener.accept()
                    with connection:
                        connection.settimeout(CALLER_TIMEOUT_S)
                        self._serve(connection)

    def stop(self) -> None:
        with suppress(OSError):
            self._end.send(b"\0")

    def _serve(self, connection: socket.socket) -> None:
        caller = caller_of(connection)
        # One byte more than allowed, so that a longer request is seen to be one; descriptors sent along are dropped.
        # Read even from strangers: closing with unread bytes would take the reply from them.
        data = connection.recv(MAX_MESSAGE_BYTES + 1)
        if data:
            known = self._desk.may_call(caller)
            reply = self._desk.answer(caller, data) if known else self._desk.turn_away(caller)
            self._send(connection, encode_message(reply))

    def _send(self, connection: socket.socket, reply: bytes) -> None:
        passed = self._desk.take_descriptors()
        if passed is None:
            connection.send(reply)
            return
        try:
            socket.send_fds(connection, [reply], [passed.program, passed.pairs, passed.lease])
        finally:
            passed.close()


def caller_of(connection: socket.socket) -> Caller:
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Caller(pid, uid, gid)
