"""An asyncio loop whose time is a world's: every callback is one of its events, so that a run repeats itself exactly.

There are no sockets and no threads. Servers listen in the world (`tcp`), what asks for a thread is done at once.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from tests.sim.tcp import Listeners
from tests.sim.world import World

T = TypeVar("T")
LIMIT_S = 60.0


class WorldLoop(asyncio.AbstractEventLoop):
    """`troubles`: what tasks raised and nobody looked at."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listeners = Listeners(self)
        self.troubles: list[str] = []

    def complete(self, work: Coroutine[Any, Any, T], limit_s: float = LIMIT_S) -> T:
        """Let the world go on until the work is done; its result."""
        task = self.create_task(work)
        if not self.world.run_until(task.done, limit_s):
            raise TimeoutError(f"not done within {limit_s:g} s of the world: {work}")
        return task.result()

    # Time and callbacks

    def time(self) -> float:
        return self.world.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.world.at(self.world.now, lambda: self._run(handle))
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.world.at(when, lambda: self._run(handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            handle._run()
        finally:
            events._set_running_loop(before)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the world's queue and does nothing when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        future.set_result(func(*args))
        return future

    # What asyncio wants to know

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.troubles.append(f"{context.get('message')}: {context.get('exception')!r}")

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.Protocol], host: Any = None, port: Any = None, **_options: Any
    ) -> Any:
        return self.listeners.listen(protocol_factory, host[0], int(port))
