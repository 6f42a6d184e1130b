"""Keeps of each peer the greatest handshake timestamp received, and with whom this gateway spoke last.

The first stops old initiations from being replayed to a restarted gateway; the second says whom to greet after a
restart, because they go on sending with keys that are gone. Written at most once a minute, within seconds when there
is somebody new to greet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from appliance.daemon.timestamps import SIZE, later
from appliance.ports.clock import Clock
from appliance.ports.engine import PeerStatistics
from appliance.ports.store import StateStore
from appliance.proto.wireguard.timestamp import encode_tai64n
from appliance.state.coalesce import CoalescedWriter
from appliance.state.document import DamagedStateError, Document
from appliance.state.profiles import Profile
from appliance.types.errors import DecodeError, StateError
from appliance.types.keys import NodePublicKey

RECENT_S = 180
"""A WireGuard session is at most so old."""
MOST_AHEAD_S = 86400
"""A timestamp so far ahead comes from a wrong clock; kept for ever, it would lock the peer out."""


class PeerHandshake(msgspec.Struct, frozen=True):
    """`received`: 12 bytes, hex, "" = none; `at`: last handshake either way, Unix seconds of this machine, 0 = none."""

    received: str = ""
    at: int = 0


class PeerHandshakes(msgspec.Struct, frozen=True):
    """`peers.json`, by node key. `saved_at`: Unix seconds of this machine."""

    saved_at: int = 0
    peers: dict[str, PeerHandshake] = {}


class Handshaker(Protocol):
    """The part of an engine that is read."""

    @property
    def last_timestamp(self) -> bytes: ...

    @property
    def greatest_timestamps(self) -> Mapping[NodePublicKey, bytes]: ...

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]: ...


class PeerHandshakeKeeper:
    """`on_error` is told of writes that fail; without it they raise."""

    def __init__(
        self,
        document: Document[PeerHandshakes],
        clock: Clock,
        on_error: Callable[[StateError], None] | None = None,
    ) -> None:
        self._document = document
        self._clock = clock
        self._known = PeerHandshakes()
        self._greeted, self._taken_at = frozenset[str](), 0
        """Whom a run after a crash would greet, by what was taken last, and when that was."""
        self._pending: PeerHandshakes | None = None
        self._seen: tuple[bytes, dict[NodePublicKey, bytes]] = (b"", {})
        self._writer = CoalescedWriter(self._write, clock, on_error=on_error)

    def load(self) -> Mapping[NodePublicKey, bytes]:
        """Greatest timestamps received by earlier runs. Nothing when the document is missing or damaged."""
        try:
            self._known = self._document.load() or PeerHandshakes()
        except DamagedStateError:
            self._known = PeerHandshakes()
        found = ((_key(text), _stamp(peer.received)) for text, peer in self._known.peers.items())
        return {key: stamp for key, stamp in found if key is not None and stamp}

    def recent(self) -> tuple[NodePublicKey, ...]:
        """With whom the run before had a session at its end; they are not judged by the clock of now."""
        return tuple(key for text in _recent(self._known) if (key := _key(text)) is not None)

    def note(self, engine: Handshaker) -> None:
        """Look whether there were handshakes; called about once a second."""
        sent, received = self._seen
        if engine.last_timestamp != sent or engine.greatest_timestamps != received:
            self._seen = (engine.last_timestamp, dict(engine.greatest_timestamps))
            self._writer.mark(soon=self._met_somebody(engine))

    def _met_somebody(self, engine: Handshaker) -> bool:
        """Whether there was a handshake with a peer that a run after a crash would not greet."""
        return any(
            str(key) not in self._greeted
            for key, peer in engine.statistics().items()
            if peer.last_handshake and _unix(peer.last_handshake) >= self._taken_at
        )

    async def poll(self, engine: Handshaker) -> None:
        if self._writer.due:
            self._pending = self._taken(engine)
        await self._writer.poll()

    async def finish(self, engine: Handshaker) -> None:
        self.note(engine)
        self._pending = self._taken(engine)
        await self._writer.flush()

    def _taken(self, engine: Handshaker) -> PeerHandshakes:
        wall_now = self._clock.wall_now()
        ours = max(engine.last_timestamp, encode_tai64n(int(wall_now.timestamp() * 1e9)))
        limit = later(ours, MOST_AHEAD_S)
        received = {key: stamp for key, stamp in engine.greatest_timestamps.items() if stamp <= limit}
        spoken = {key: _unix(peer.last_handshake) for key, peer in engine.statistics().items() if peer.last_handshake}
        peers = {
            str(key): PeerHandshake(received.get(key, b"").hex(), spoken.get(key, 0)) for key in {*received, *spoken}
        }
        taken = PeerHandshakes(_unix(wall_now), peers)
        self._greeted, self._taken_at = _recent(taken), taken.saved_at
        return taken

    def _write(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                self._document.save(pending)
            except StateError:
                self._pending = pending
                raise


def keep_peer_handshakes(
    store: StateStore, profile: Profile, clock: Clock, on_error: Callable[[StateError], None] | None = None
) -> PeerHandshakeKeeper:
    """The keeper of a profile's `peers.json`."""
    return PeerHandshakeKeeper(Document(store, f"{profile.folder}/peers.json", PeerHandshakes), clock, on_error)


def _recent(document: PeerHandshakes) -> frozenset[str]:
    """Node keys of the peers with whom there was a session when it was written."""
    oldest = document.saved_at - RECENT_S
    return frozenset(text for text, peer in document.peers.items() if peer.at and peer.at >= oldest)


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())


def _key(text: str) -> NodePublicKey | None:
    try:
        return NodePublicKey.parse(text)
    except DecodeError:
        return None


def _stamp(text: str) -> bytes:
    try:
        stamp = bytes.fromhex(text)
    except ValueError:
        return b""
    return stamp if len(stamp) == SIZE else b""
