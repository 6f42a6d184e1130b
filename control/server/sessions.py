"""Map streams: one per node, told of changes in batches, kept alive, never buffering for a slow reader.

What a stream was not told yet lives in its `Viewer` (bounded by its peers); a message is made only when the stream can
take it at once (control-protocol spec sections 8, 9, 18).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import MapFramer
from control.mapper.nodes import PeerNodes
from control.mapper.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.ids import NodeId
    from control.mapper.settings import MapSettings
    from control.noise.connection import TunnelConnection
    from control.service.interface import NodeFacing
    from control.state.changes import Change
    from control.state.records import NodeRecord

log = structlog.get_logger("control.sessions")

BATCH_S = 0.05
"""Changes that come within this time leave in one message."""
TURN_S = 0.02
"""Longest time that telling streams may hold the loop."""
KEEP_ALIVE_S = 50.0
KEEP_ALIVE_SPREAD_S = 9.0
RESUME_S = 90.0
"""How long a session waits for its client to come back, longer than the pauses between a client's attempts."""
_HANDLE_SIZE = 16
STALLED_S = 120.0
"""A stream that takes nothing for so long is dead: nodes give up after the same time."""


class MapSession:
    """An open map stream."""

    def __init__(self, connection: TunnelConnection, stream_id: int, viewer: Viewer, framer: MapFramer) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.viewer = viewer
        self.framer = framer
        self.keep_alive = True
        self.keep_alive_due = 0.0
        self.stalled_since: float | None = None

    @property
    def node_id(self) -> NodeId:
        return self.viewer.node_id

    def is_writable(self) -> bool:
        return self.connection.is_writable(self.stream_id)

    def send(self, data: bytes) -> None:
        self.connection.send_body(self.stream_id, data)

    def end(self) -> None:
        self.connection.end_stream(self.stream_id)


class Framers:
    """The two forms of a map stream, shared by all sessions; a message for many is compressed once."""

    def __init__(self, peers: PeerNodes) -> None:
        self._peers = peers
        self._framers = {True: MapFramer(compress=True), False: MapFramer(compress=False)}
        self._recent: dict[tuple[bool, bytes], bytes] = {}
        self.counters: Counter[str] = Counter()

    def of(self, request: wire.MapRequest) -> MapFramer:
        return self._framers[request.compress == "zstd"]

    def frame(self, framer: MapFramer, response: wire.MapResponse) -> bytes:
        message = self._peers.encode(response)
        key = (framer is self._framers[True], message)
        frame = self._recent.get(key)
        if frame is None:
            frame = self._recent[key] = framer.frame(message)
            self.counters["frames_made"] += 1
        self.counters["frames_sent"] += 1
        self.counters["bytes_sent"] += len(frame)
        return frame

    def frames(self, framer: MapFramer, responses: Iterable[wire.MapResponse]) -> bytes:
        return b"".join([self.frame(framer, response) for response in responses])

    def forget(self) -> None:
        """Call when a round of messages is over."""
        self._recent.clear()
        self._peers.end_round()


class SessionHub:
    """All map streams of this process. Call `tick` about once a second."""

    def __init__(
        self, service: NodeFacing, clock: Clock, randomness: Randomness, settings: MapSettings | None = None
    ) -> None:
        self._service = service
        self._settings = settings
        self._clock = clock
        self._randomness = randomness
        self._peers = PeerNodes(service.view())
        self._framers = Framers(self._peers)
        self._sessions: dict[NodeId, MapSession] = {}
        self._by_connection: dict[TunnelConnection, dict[int, MapSession]] = {}
        self._parked: dict[NodeId, tuple[Viewer, float]] = {}
        """Sessions without a stream, and until when they are kept: by node, so no more than there are nodes."""
        self._seq = 0
        self._dirty: dict[MapSession, None] = {}
        self._blocked: dict[TunnelConnection, set[MapSession]] = {}
        self._flush_timer: asyncio.Handle | None = None
        self._round_time: datetime | None = None
        """One control time for a round, so that equal messages are equal."""
        self._loop = asyncio.get_running_loop()
        self._end_subscription = service.subscribe(self.changed)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def counters(self) -> Counter[str]:
        """Frames made, frames and bytes sent, streams opened and dropped."""
        return self._framers.counters

    @property
    def waiting(self) -> int:
        """Streams that have something to be told and take nothing now."""
        return sum(len(sessions) for sessions in self._blocked.values())

    # opening and closing

    def one_map(self, node: NodeRecord, request: wire.MapRequest) -> bytes:
        """One full map for a request without a stream, framed."""
        viewer = Viewer(self._service.view(), self._peers, node.id, request.version, self._settings)
        frames = self._framers.frames(self._framers.of(request), viewer.full_map(self._clock.wall_now()))
        self._framers.forget()
        return frames

    def open(
        self, connection: TunnelConnection, stream_id: int, node: NodeRecord, request: wire.MapRequest
    ) -> MapSession:
        """Start a stream with the full map. The newest stream of a node wins."""
        former = self._sessions.get(node.id)
        viewer, messages = self._begin(node, request, former)
        session = MapSession(connection, stream_id, viewer, self._framers.of(request))
        session.keep_alive = request.keep_alive
        self._sessions[node.id] = session
        self._by_connection.setdefault(connection, {})[stream_id] = session
        self._send(session, messages)
        self._framers.forget()
        self._service.session_started(node.id)
        self.counters["streams_opened"] += 1
        if former is not None:
            self._close(former)
        log.info("node connected", node=node.given_name, id=node.id, remote=connection.remote_ip)
        return session

    def _begin(
        self, node: NodeRecord, request: wire.MapRequest, former: MapSession | None
    ) -> tuple[Viewer, list[wire.MapResponse]]:
        """Go on where the client's last stream ended, if it has all of that; else tell everything."""
        self._seq += 1
        parked, _ = self._parked.pop(node.id, (None, 0.0))
        viewer = former.viewer if former is not None else parked
        handle, seq = request.map_session_handle, request.map_session_seq
        if viewer is not None and viewer.can_resume(handle, seq, request.version):
            self.counters["streams_resumed"] += 1
            return viewer, viewer.resumed(self._clock.wall_now(), self._seq)
        viewer = Viewer(self._service.view(), self._peers, node.id, request.version, self._settings)
        if handle:
            viewer.handle = self._randomness.bytes(_HANDLE_SIZE).hex()
        return viewer, viewer.full_map(self._clock.wall_now(), self._seq)

    def stream_gone(self, connection: TunnelConnection, stream_id: int) -> None:
        """A stream was reset; `stream_id` 0: all of this connection are gone."""
        streams = self._by_connection.get(connection, {})
        if stream_id:
            gone = streams.get(stream_id)
            if gone is not None:
                self._close(gone)
            return
        for session in tuple(streams.values()):
            self._close(session)
        self._blocked.pop(connection, None)

    def close(self) -> None:
        """End every stream: the process stops."""
        self._end_subscription()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        for streams in tuple(self._by_connection.values()):
            for session in tuple(streams.values()):
                self._close(session)

    def _close(self, session: MapSession) -> None:
        streams = self._by_connection.get(session.connection, {})
        if streams.pop(session.stream_id, None) is None:
            return
        if not streams:
            del self._by_connection[session.connection]
        if self._sessions.get(session.node_id) is session:
            del self._sessions[session.node_id]
            if session.viewer.handle and not session.viewer.gone:
                self._parked[session.node_id] = (session.viewer, self._clock.now() + RESUME_S)
        self._dirty.pop(session, None)
        self._blocked.get(session.connection, set()).discard(session)
        session.end()
        self._service.session_ended(session.node_id)

    # changes

    def changed(self, change: Change) -> None:
        """Subscriber of the service: note the change for every stream that it concerns."""
        for node in change.nodes:
            if node.after is None:
                self._peers.forget(node.node_id)
        for session in self._concerned(change):
            session.viewer.note(change)
            self._dirty[session] = None
        for viewer in self._parked_concerned(change):
            viewer.note(change)
        if self._dirty:
            self._schedule(BATCH_S)

    def _concerned(self, change: Change) -> list[MapSession]:
        if change.everything:
            return list(self._sessions.values())
        node_ids = change.viewers | change.refiltered | change.ssh
        return [session for node_id in node_ids if (session := self._sessions.get(node_id)) is not None]

    def _parked_concerned(self, change: Change) -> list[Viewer]:
        if not self._parked:
            return []
        if change.everything:
            return [viewer for viewer, _ in self._parked.values()]
        node_ids = change.viewers | change.refiltered | change.ssh
        return [parked[0] for node_id in node_ids if (parked := self._parked.get(node_id)) is not None]

    def writable(self, connection: TunnelConnection) -> None:
        """A connection can take data again."""
        for session in self._blocked.pop(connection, ()):
            session.stalled_since = None
            self._dirty[session] = None
        if self._dirty:
            self._schedule(0)

    def _schedule(self, delay_s: float) -> None:
        if self._flush_timer is None:
            self._flush_timer = self._loop.call_later(delay_s, self._flush)

    def _flush(self) -> None:
        """Tell streams until the turn is used up; the rest follows in the next turn."""
        self._flush_timer = None
        deadline = self._loop.time() + TURN_S
        if self._round_time is None:
            self._round_time = self._clock.wall_now()
            self._seq += 1
        while self._dirty and self._loop.time() < deadline:
            session = next(iter(self._dirty))
            del self._dirty[session]
            self._tell(session)
        if self._dirty:
            self._flush_timer = self._loop.call_soon(self._flush)
        else:
            self._round_time = None
            self._framers.forget()

    def _tell(self, session: MapSession) -> None:
        if not session.is_writable():
            self._block(session)
            return
        self._send(session, session.viewer.take(self._round_time or self._clock.wall_now(), self._seq))
        if session.viewer.gone:
            self._close(session)

    def _block(self, session: MapSession) -> None:
        self._blocked.setdefault(session.connection, set()).add(session)
        if session.stalled_since is None:
            session.stalled_since = self._clock.now()

    def _send(self, session: MapSession, responses: list[wire.MapResponse]) -> None:
        if not responses:
            return
        session.send(self._framers.frames(session.framer, responses))
        self._set_keep_alive(session)

    def push(self, node_id: NodeId, response: wire.MapResponse) -> bool:
        """Send a node a message that is no change of its map; False: it has no stream that takes one now."""
        session = self._sessions.get(node_id)
        if session is None or not session.is_writable():
            return False
        self._send(session, [response])
        self._framers.forget()
        return True

    # time

    def _set_keep_alive(self, session: MapSession) -> None:
        spread = self._randomness.uniform(0, KEEP_ALIVE_SPREAD_S)
        session.keep_alive_due = self._clock.now() + KEEP_ALIVE_S + spread

    def tick(self) -> None:
        """Keep-alives that are due, and the end of connections and lost sessions that nobody wants any more."""
        now = self._clock.now()
        for node_id in [node_id for node_id, (_, until) in self._parked.items() if until <= now]:
            del self._parked[node_id]
        for session in tuple(self._sessions.values()):
            if session.stalled_since is not None and now - session.stalled_since >= STALLED_S:
                self.counters["streams_stalled"] += 1
                log.info("node does not read its map stream, connection dropped", id=session.node_id)
                session.connection.abort()
            elif session.keep_alive and now >= session.keep_alive_due:
                self._keep_alive(session)

    def _keep_alive(self, session: MapSession) -> None:
        if session.is_writable():
            session.send(session.framer.keep_alive)
            self._set_keep_alive(session)
        else:
            self._block(session)
