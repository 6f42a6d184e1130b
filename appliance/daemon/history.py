"""The ring of the last state changes: for `waypost debug events`, the status stream and the diagnostics bundle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from appliance.localapi.schema import EventLine
from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.types.events import (
    BackendStateChanged,
    EndpointsChanged,
    FlowRefused,
    HealthChanged,
    HomeDerpChanged,
    LinkChanged,
    NetmapChanged,
    PathChanged,
)

CAPACITY = 500


def describe(event: object) -> tuple[str, dict[str, Any]]:
    """Kind and plain fields of an event; no secrets are in events."""
    match event:
        case PathChanged(peer, kind, endpoint, region, latency_s):
            where = str(endpoint) if endpoint is not None else region
            return "path", {"peer": peer.short, "path": str(kind), "where": where, "latency_s": round(latency_s, 4)}
        case EndpointsChanged(endpoints):
            return "endpoints", {"endpoints": [f"{item.addr_port} {item.kind.name.lower()}" for item in endpoints]}
        case HomeDerpChanged(region):
            return "home-derp", {"region": region}
        case NetmapChanged(diff):
            counts = {"changed": len(diff.changed), "removed": len(diff.removed)}
            return "netmap", {"full": diff.full, "self": diff.self_changed, "filter": diff.filter_changed, **counts}
        case BackendStateChanged(state, reason):
            return "state", {"state": str(state), "reason": reason}
        case LinkChanged(major, reason):
            return "link", {"major": major, "reason": reason}
        case HealthChanged(code, broken, text, _):
            return "health", {"code": code, "broken": broken, "text": text}
        case FlowRefused(peer, destination, reason):
            return "refused", {"peer": peer.short, "destination": str(destination), "reason": reason}
    return type(event).__name__, {}


KINDS: tuple[type, ...] = (
    PathChanged,
    EndpointsChanged,
    HomeDerpChanged,
    NetmapChanged,
    BackendStateChanged,
    LinkChanged,
    HealthChanged,
    FlowRefused,
)


class History:
    """Listens to the bus, keeps the last lines, and tells subscribers of the local API."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._clock = clock
        self._lines: deque[EventLine] = deque(maxlen=CAPACITY)
        self._subscribers: list[Callable[[EventLine], None]] = []
        for kind in KINDS:
            bus.subscribe(kind, self.note)

    def note(self, event: object) -> None:
        kind, fields = describe(event)
        self.add(kind, fields)

    def add(self, kind: str, fields: dict[str, Any]) -> None:
        line = EventLine(at=self._clock.wall_now(), kind=kind, fields=fields)
        self._lines.append(line)
        for callback in tuple(self._subscribers):
            callback(line)

    def recent(self) -> Sequence[EventLine]:
        return tuple(self._lines)

    def subscribe(self, callback: Callable[[EventLine], None]) -> Callable[[], None]:
        self._subscribers.append(callback)

        def end() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return end
