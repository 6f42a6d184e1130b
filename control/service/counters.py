"""What each part of the server counts: refused requests, dropped packets, relay traffic. Read by operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

CounterSource = Callable[[], Mapping[str, int]]


class Counters:
    """Parts register a function that reads their counters; nothing is copied until somebody asks."""

    def __init__(self) -> None:
        self._sources: dict[str, CounterSource] = {}

    def add(self, part: str, source: CounterSource) -> None:
        """`source` is called at each look; a part that starts again takes its name over."""
        self._sources[part] = source

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Counters by part, then by name, sorted."""
        return {part: dict(sorted(read().items())) for part, read in sorted(self._sources.items())}
