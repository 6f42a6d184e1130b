"""Keeps the last netmap and brings it back at a start, so that a gateway works while the control server is away.

What the first full map of this run says replaces it. Until then status and health say on what the gateway runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from appliance.health.tracker import HealthTracker
from appliance.netmap.client import ControlClient
from appliance.netmap.saved import StoredNetmap, pack, restore
from appliance.netmap.store import NetmapStore
from appliance.ports.clock import Clock
from appliance.ports.store import StateStore
from appliance.proto.control import messages as wire
from appliance.state.coalesce import CoalescedWriter
from appliance.state.document import DamagedStateError, Document, NewerStateError
from appliance.types.errors import DecodeError, Severity, StateError
from appliance.types.keys import DiscoPrivateKey, NodePublicKey
from appliance.types.netmap import NetmapDiff

log = structlog.get_logger("saved netmap")

HEALTH = "saved-netmap"
SHOWN_AFTER_S = 5.0
"""A control server that answers sooner after a start was never away."""
REFRESH_S = 3600.0
"""An unchanged netmap is written again so often: its time is what a gateway without a clock of its own starts from."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """What the gateway runs on while control is away; both are UTC."""

    saved_at: datetime
    unreachable_since: datetime

    @property
    def text(self) -> str:
        saved, since = (moment.strftime("%Y-%m-%d %H:%M UTC") for moment in (self.saved_at, self.unreachable_since))
        return f"on the saved netmap of {saved}, control unreachable since {since}"


def netmap_document(store: StateStore, profile_folder: str) -> Document[StoredNetmap]:
    return Document(store, f"{profile_folder}/netmap.json", StoredNetmap)


def load_netmap(document: Document[StoredNetmap]) -> StoredNetmap | None:
    """None where there is none, or none that can be read: control gives another."""
    try:
        return document.load()
    except (DamagedStateError, NewerStateError) as error:
        log.warning("the saved netmap is not used", reason=error.text)
        return None


class SavedNetmap:
    """`disco_key` is the one of this process, for the run after it."""

    def __init__(
        self,
        document: Document[StoredNetmap],
        disco_key: DiscoPrivateKey,
        clock: Clock,
        health: HealthTracker,
        on_error: Callable[[StateError], None] | None = None,
    ) -> None:
        self._document = document
        self._disco_key = disco_key
        self._clock = clock
        self._health = health
        self._client: ControlClient | None = None
        self._url = ""
        self._pending: tuple[StoredNetmap, bytes, bytes] | None = None
        self._written: bytes | None = None
        self._written_at = clock.now()
        self._writer = CoalescedWriter(self._write, clock, on_error=on_error)
        self.state: SavedState | None = None

    # --- at a start

    def restore(self, node_key: NodePublicKey, control_url: str) -> NetmapStore | None:
        """The netmap of the run before, if it is this login's and the login has not run out."""
        stored = load_netmap(self._document)
        if stored is None or (stored.node_key, stored.control_url) != (node_key, control_url):
            return None
        wall_now = self._clock.wall_now()
        try:
            store = restore(stored, wall_now)
        except DecodeError as error:
            log.warning("the saved netmap is not used", reason=error.text)
            return None
        node = store.self_node
        if node is None or (node.key_expiry is not None and node.key_expiry <= store.server_now(wall_now)):
            log.warning("the saved netmap is not used", reason="the login of this node has expired")
            return None
        self.state = SavedState(stored.saved_at, max(wall_now, stored.saved_at).astimezone(UTC))
        mend = "nothing to do for what worked then; see whether the control server runs and can be reached from here"
        self._health.set(HEALTH, f"running {self.state.text}", mend=mend, severity=Severity.LOW, after_s=SHOWN_AFTER_S)
        log.info("starting on the saved netmap", saved_at=stored.saved_at.isoformat(), peers=len(store.peers))
        return store

    # --- while it runs

    def follow(self, client: ControlClient | None, control_url: str = "") -> None:
        """Whose netmap is to be kept; None: nobody's, and nothing saved is in use."""
        last = self._taken()
        if last is not None:
            self._pending = last
            self._writer.mark()
        self._client, self._url = client, control_url
        if client is None:
            self._live()

    def netmap_changed(self, diff: NetmapDiff) -> None:
        """The netmap is another one; a full map is always control's."""
        self._writer.mark()
        if diff.full:
            self._live()

    def poll_state(self) -> None:
        """A full map that changes nothing is no event: look at the connection too."""
        if self._client is not None and self._client.is_connected:
            self._live()
            if self._clock.now() - self._written_at >= REFRESH_S:
                self._writer.mark()

    async def poll(self) -> None:
        """Called about once a second; writes at most once a minute."""
        self.poll_state()
        if self._writer.due:
            self._pending = self._taken() or self._pending
        await self._writer.poll()

    async def finish(self) -> None:
        """The process ends in order."""
        self._pending = self._taken() or self._pending
        if self._pending is not None:
            self._writer.mark()
            await self._writer.flush()

    def forget(self) -> None:
        """Logged out. Raises `StateError`."""
        self.follow(None)
        self._pending = self._written = None
        self._document.delete()

    def _live(self) -> None:
        if self.state is not None:
            self.state = None
            self._health.clear(HEALTH)

    def _taken(self) -> tuple[StoredNetmap, bytes, bytes] | None:
        """What is to be written, if it differs: the frame without the netmap, the netmap, its digest."""
        client = self._client
        if client is None or client.keys is None or client.netmap.self_node is None or self.state is not None:
            return None
        if client.netmap.self_node.key != client.keys.public:
            return None
        encoded = wire.encode(client.store.snapshot())
        digest = hashlib.sha256(encoded).digest()
        if digest == self._written and self._clock.now() - self._written_at < REFRESH_S:
            return None
        frame = StoredNetmap(
            control_url=self._url,
            node_key=client.keys.public,
            disco_key=self._disco_key,
            saved_at=client.server_now,
            netmap=b"",
        )
        return frame, encoded, digest

    def _write(self) -> None:
        """In a worker thread."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        frame, encoded, digest = pending
        try:
            self._document.save(
                StoredNetmap(
                    control_url=frame.control_url,
                    node_key=frame.node_key,
                    disco_key=frame.disco_key,
                    saved_at=frame.saved_at,
                    netmap=pack(encoded),
                )
            )
        except StateError:
            self._pending = pending
            raise
        self._written, self._written_at = digest, self._clock.now()
