"""Defence against handshake floods: the load meter and the limiter by source (paper 5.3, magicsock-disco spec 2.3)."""

from __future__ import annotations

from enum import Enum

from appliance.proto.wireguard.settings import Settings
from appliance.types.token_bucket import TokenBucket


class Load(Enum):
    NORMAL = "normal"
    UNDER_LOAD = "under_load"
    FULL = "full"


class LoadMeter:
    """A virtual queue of handshake messages that drains at `handshake_rate`; load is remembered for a moment."""

    __slots__ = ("_at", "_level", "_loaded_until", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._level = 0.0
        self._at = 0.0
        self._loaded_until = float("-inf")

    def note(self, now: float) -> Load:
        """Count one handshake message and say how the queue stands."""
        settings = self._settings
        self._level = max(0.0, self._level - max(0.0, now - self._at) * settings.handshake_rate)
        self._at = now
        if self._level >= settings.handshake_queue:
            return Load.FULL
        self._level += 1
        if self._level > settings.handshake_queue / 8:
            self._loaded_until = now + settings.under_load_memory_s
        return Load.UNDER_LOAD if now < self._loaded_until else Load.NORMAL


class SourceLimiter:
    """A token bucket per source host; a table that is full of busy sources refuses new ones."""

    __slots__ = ("_buckets", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: dict[bytes, TokenBucket] = {}

    def allow(self, source: bytes, now: float) -> bool:
        settings = self._settings
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= settings.source_table and not self._sweep(now):
                return False
            bucket = self._buckets[source] = TokenBucket(settings.source_rate, settings.source_burst)
        return bucket.take(now)

    def _sweep(self, now: float) -> bool:
        """Forget sources whose bucket is full again; True when that made room."""
        idle_s = self._settings.source_burst / self._settings.source_rate
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket.at < idle_s}
        return len(self._buckets) < self._settings.source_table
