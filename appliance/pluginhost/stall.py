"""Bounds the time of a synchronous call in the main thread, for hooks that run inside the event loop.

A hook that hangs would stop the whole process. The interval timer interrupts it, asleep or busy, by raising in its
frame. C code that never returns to the interpreter is not reached: such plugins belong into `waypost-apps`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Stalled(BaseException):
    """Raised inside the call. Not an `Exception`, so that the hook's own handlers do not swallow it."""


class StallGuard:
    """`limit_s`: after this time a call is interrupted. Calls in other threads than the main one are only measured."""

    def __init__(self, limit_s: float = 1.0) -> None:
        self.limit_s = limit_s
        self.last_s = 0.0
        """Duration of the last call."""
        self._armed = False

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it; raises `Stalled` when it took too long, else what it raises."""
        started = perf_counter()
        if self._armed or threading.current_thread() is not threading.main_thread():
            try:
                return function(*args, **kwargs)
            finally:
                self.last_s = perf_counter() - started
        earlier = signal.signal(signal.SIGALRM, self._expired)
        self._armed = True
        left, interval = signal.setitimer(signal.ITIMER_REAL, self.limit_s)
        try:
            return function(*args, **kwargs)
        finally:
            self._armed = False
            self.last_s = perf_counter() - started
            # Whoever used the timer before gets what is left of it.
            signal.setitimer(signal.ITIMER_REAL, max(left - self.last_s, 1e-3) if left else 0.0, interval)
            signal.signal(signal.SIGALRM, earlier)

    def _expired(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise Stalled
