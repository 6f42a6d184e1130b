"""A TLS listener that looks at a client's first message before it chooses what to present.

The TLS library chooses a certificate before it reads the application protocols, and an authority that validates a name
(`control.tls.alpn_challenge`) is known by these alone. So the first record is looked at where the kernel keeps it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from appliance.types.errors import DecodeError
from control.tls.client_hello import MAX_RECORD, RECORD_HEADER, ClientHello, NeedMoreError, parse_client_hello

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from control.tls.alpn_challenge import AlpnAnswers

PEEK_TIMEOUT_S = 10.0
PEEK_PAUSE_S = 0.02
"""Between looks at a record that has not come as a whole: the kernel does not say when more of it is there."""
MAX_PEEKING = 1024
"""Connections without a first message at one time; more wait in the kernel."""
TLS_HANDSHAKE_TIMEOUT_S = 10.0


class PeekingListener:
    """`serve` it until cancelled. Nobody's first message is looked at while no authority is expected."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        own: ssl.SSLContext,
        answers: AlpnAnswers,
    ) -> None:
        self.sockets = tuple(listeners)
        self._protocol = protocol
        self._own = own
        self._answers = answers
        self._gate = asyncio.Semaphore(MAX_PEEKING)
        self._is_serving = False

    def close(self) -> None:
        """Free the port; while it is served that is done by who serves it."""
        if not self._is_serving:
            for listener in self.sockets:
                listener.close()

    async def serve(self) -> None:
        """Until cancelled; then the port is free."""
        self._is_serving = True
        try:
            async with asyncio.TaskGroup() as group:
                for listener in self.sockets:
                    group.create_task(self._accept(listener, group))
        finally:
            self._is_serving = False
            self.close()

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._gate.acquire()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError:  # the client is gone already, or files are short for a moment
                self._gate.release()
                await asyncio.sleep(PEEK_PAUSE_S)
                continue
            group.create_task(self._begin(accepted))

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)
            context = await self._context(accepted)
        except (DecodeError, OSError, TimeoutError):
            accepted.close()
            return
        except BaseException:
            accepted.close()
            raise
        finally:
            self._gate.release()
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # a handshake that fails, SSL errors among them, is the client's own matter
            await loop.connect_accepted_socket(
                self._protocol, accepted, ssl=context, ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S
            )

    async def _context(self, accepted: socket.socket) -> ssl.SSLContext:
        if not self._answers.is_waiting:
            return self._own
        async with asyncio.timeout(PEEK_TIMEOUT_S):
            return self._answers.context_for(await _first_message(accepted)) or self._own


async def _first_message(accepted: socket.socket) -> ClientHello:
    """Raises `DecodeError` and OSError."""
    while True:
        try:
            data = accepted.recv(RECORD_HEADER + MAX_RECORD, socket.MSG_PEEK)
        except BlockingIOError:
            data = None
        if data == b"":
            raise ConnectionResetError("the client left")
        if data:
            try:
                return parse_client_hello(data)
            except NeedMoreError:
                pass
        await asyncio.sleep(PEEK_PAUSE_S)
