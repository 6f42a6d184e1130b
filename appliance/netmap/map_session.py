"""One map stream: request, frames, watchdog (control-protocol spec section 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from appliance.netmap.connection import ControlConnection, ReplyStream
from appliance.netmap.dialing import Sleep
from appliance.netmap.errors import ControlRefused, ProtocolError
from appliance.ports.clock import Clock
from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import MapStreamReader
from appliance.types.errors import ControlError, DecodeError

SILENCE_S = 120.0
"""Without any message for this time the stream is dead."""
MAX_ERROR_TEXT = 200


class MapSession:
    """`on_message` gets every message in order; it returns whether the message brought state."""

    def __init__(
        self,
        connection: ControlConnection,
        clock: Clock,
        sleep: Sleep,
        on_message: Callable[[wire.MapResponse], Awaitable[bool]],
    ) -> None:
        self.connection = connection
        self._clock = clock
        self._sleep = sleep
        self._on_message = on_message
        self._reader = MapStreamReader(compressed=True)
        self._stream: ReplyStream | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = clock.now()
        self.has_netmap = False
        self.dropped = False

    async def run(self, path: str, request: bytes) -> None:
        """Until the stream ends. Raises `ControlRefused`, `ControlUnreachable` and `ProtocolError`."""
        watchdog = asyncio.get_running_loop().create_task(self._watch())
        try:
            self._stream = self.connection.open("POST", path, request)
            status = await self._stream.started()
            if status != 200:
                raise ControlRefused(status, f"the control server refuses the map: {await self._error_text()}")
            async for part in self._stream.parts():
                self._reader.receive_data(part)
                await self._take_messages()
        except DecodeError as error:
            self.connection.close("unreadable map stream")
            raise ProtocolError(f"the control server's map stream is unreadable: {error.text}") from error
        finally:
            if self._stream is not None:
                self._stream.abort()
            for task in (watchdog, *self._tasks):
                task.cancel()

    def drop(self) -> None:
        """The stream is not wanted any more; `run` ends with an error."""
        self.dropped = True
        if self._stream is not None:
            self._stream.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the stream, at most as long as it; its failure is of no consequence."""
        task = asyncio.get_running_loop().create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_messages(self) -> None:
        while (message := self._reader.next_message()) is not None:
            self._heard = self._clock.now()
            if await self._on_message(wire.decode(wire.MapResponse, message)):
                self.has_netmap = True
            self._heard = self._clock.now()

    async def _error_text(self) -> str:
        assert self._stream is not None
        text = bytearray()
        async for part in self._stream.parts():
            text += part
            if len(text) > MAX_ERROR_TEXT:
                break
        return text[:MAX_ERROR_TEXT].decode("utf-8", "replace").strip() or f"HTTP {self._stream.status}"

    async def _watch(self) -> None:
        while (left := self._heard + SILENCE_S - self._clock.now()) > 0:
            await self._sleep(left)
        self.connection.close(f"nothing heard for {SILENCE_S:g} s")


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (ControlError, DecodeError, OSError):
        return
