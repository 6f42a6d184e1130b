"""The event bus between services: synchronous, in the event loop's thread, in order of subscription.

It is its own twin: there is nothing below it. A subscriber that raises is reported to `on_error` and the others still
get the event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

E = TypeVar("E")


class EventBus:
    def __init__(self, on_error: Callable[[object, BaseException], None] | None = None) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = {}
        self._on_error = on_error

    def subscribe(self, kind: type[E], callback: Callable[[E], None]) -> Callable[[], None]:
        """Call `callback` for every event of exactly this type; returns the function that ends it."""
        callbacks = self._subscribers.setdefault(kind, [])
        callbacks.append(callback)

        def end() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return end

    def publish(self, event: object) -> None:
        for callback in tuple(self._subscribers.get(type(event), ())):
            try:
                callback(event)
            except Exception as error:  # one bad subscriber must not silence the rest
                if self._on_error is None:
                    raise
                self._on_error(event, error)
