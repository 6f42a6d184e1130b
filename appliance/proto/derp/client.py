"""The client's end of a DERP connection, without IO (derp spec 1, 2, 3.5).

REQUESTED --101--> AWAIT_KEY --ServerKey / ClientInfo sent--> AWAIT_INFO --ServerInfo--> OPEN
(fast start begins in AWAIT_INFO: request and ClientInfo leave in one flight and ServerKey is skipped)
any state --bad bytes, deadline, silence--> CLOSED
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from appliance.proto.derp.frames import (
    PROTOCOL_VERSION,
    ForwardPacket,
    Frame,
    FrameType,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    PeerGoneReason,
    PeerPresent,
    Ping,
    Pong,
    RecvPacket,
    Restarting,
    ServerInfoBox,
    ServerKey,
    WatchConns,
    encode_frame,
    parse_frame,
    send_packet_bytes,
)
from appliance.proto.derp.handshake import ClientInfo, ServerInfo, open_server_info, seal_client_info
from appliance.proto.derp.parser import FrameParser, RawFrame
from appliance.proto.derp.upgrade import upgrade_request
from appliance.proto.http1.head import parse_response_head
from appliance.types.errors import DecodeError
from appliance.types.keys import DerpMeshKey, DerpPrivateKey, DerpPublicKey, NodePrivateKey, NodePublicKey
from appliance.types.token_bucket import TokenBucket

HANDSHAKE_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 120.0


class ClientState(Enum):
    REQUESTED = "requested"
    AWAIT_KEY = "await-key"
    AWAIT_INFO = "await-info"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Connected:
    """The server accepted us."""

    server: DerpPublicKey
    info: ServerInfo


@dataclass(frozen=True, slots=True)
class PacketsReceived:
    """Consecutive packets of one source."""

    source: NodePublicKey
    packets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PeerLeft:
    peer: NodePublicKey
    not_here: bool


@dataclass(frozen=True, slots=True)
class PeerArrived:
    """Told to watchers only (spec section 4)."""

    peer: NodePublicKey


@dataclass(frozen=True, slots=True)
class PongReceived:
    data: bytes


@dataclass(frozen=True, slots=True)
class HealthReported:
    problem: str


@dataclass(frozen=True, slots=True)
class ServerRestarting:
    reconnect_in_ms: int
    try_for_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is of no more use; `reason` is one clause for logs."""

    reason: str


ClientEvent = (
    Connected | PacketsReceived | PeerLeft | PeerArrived | PongReceived | HealthReported | ServerRestarting | Closed
)


class DerpClient:
    """One connection. Give it bytes, take bytes and events; the caller owns stream and timer.

    `nonce` is 24 random bytes. `server` (from a meta certificate) makes a fast start. `host` is the Host header.
    """

    def __init__(
        self,
        private: NodePrivateKey | DerpPrivateKey,
        host: str,
        nonce: bytes,
        now: float,
        *,
        ideal_node: str = "",
        server: DerpPublicKey | None = None,
        mesh_key: DerpMeshKey | None = None,
    ) -> None:
        self._private = private
        self._nonce = nonce
        self._info = ClientInfo(mesh_key=mesh_key)
        self._server = server
        self._parser = FrameParser()
        self._head: bytes | None = b"" if server is None else None
        self._output = [upgrade_request(host, ideal_node=ideal_node, fast_start=server is not None)]
        self._events: deque[ClientEvent] = deque()
        self._deadline = now + HANDSHAKE_TIMEOUT_S
        self._bucket: TokenBucket | None = None
        self.state = ClientState.REQUESTED
        self.rate_dropped = 0
        if server is not None:
            self._introduce(server)

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes from the server; b"" means that it ended the stream. Never raises."""
        if self.state is ClientState.CLOSED:
            return
        if not data:
            return self._close("the server closed the connection")
        try:
            rest = self._read_head(data)
            frames = self._parser.feed(rest) if rest else []
            if frames and self.state is ClientState.OPEN:
                self._deadline = now + READ_TIMEOUT_S
            self._handle(frames, now)
        except DecodeError as error:
            self._close(f"bad data from the server: {error.text}")

    def data_to_send(self, now: float) -> bytes:
        """Bytes for the server, b"" when there is nothing; they are handed out once."""
        data, self._output = b"".join(self._output), []
        return data

    def next_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        return None if self.state is ClientState.CLOSED else self._deadline

    def handle_timer(self, now: float) -> None:
        """Handshake deadline (10 s) and read watchdog (120 s without a frame)."""
        if self.state is not ClientState.CLOSED and now >= self._deadline:
            silent = self.state is ClientState.OPEN
            self._close("no frame for 120 s" if silent else "no DERP handshake within 10 s")

    def send_packets(self, destination: NodePublicKey, packets: Sequence[bytes], now: float) -> None:
        """Queue packets; those beyond the server's rate are dropped and counted. `ValueError` above 64 KiB."""
        for packet in packets:
            frame = send_packet_bytes(destination, packet)
            if self._bucket is not None and not self._bucket.take(now, len(frame)):
                self.rate_dropped += 1
            else:
                self._output.append(frame)

    def note_preferred(self, preferred: bool) -> None:
        self._output.append(encode_frame(NotePreferred(preferred)))

    def watch(self) -> None:
        """Ask to be told who is connected; for servers of the mesh."""
        self._output.append(encode_frame(WatchConns()))

    def forward(self, source: NodePublicKey, destination: NodePublicKey, packet: bytes) -> None:
        """Hand on a packet of one of our own clients; for servers of the mesh."""
        self._output.append(encode_frame(ForwardPacket(source, destination, packet)))

    def ping(self, data: bytes) -> None:
        """`data` is 8 bytes, to come back in `PongReceived`."""
        self._output.append(encode_frame(Ping(data)))

    def _close(self, reason: str) -> None:
        self.state = ClientState.CLOSED
        self._events.append(Closed(reason))

    def _read_head(self, data: bytes) -> bytes:
        """Consume the HTTP answer; what follows it are frames."""
        if self._head is None:
            return data
        self._head += data
        found = parse_response_head(self._head)
        if found is None:
            return b""
        head, size = found
        rest, self._head = self._head[size:], None
        if head.status != 101:
            self._close(f"the server answered HTTP {head.status} instead of DERP")
            return b""
        self.state = ClientState.AWAIT_KEY
        return rest

    def _introduce(self, server: DerpPublicKey) -> None:
        self._server = server
        self._output.append(encode_frame(seal_client_info(self._private, server, self._info, self._nonce)))
        self.state = ClientState.AWAIT_INFO

    def _handle(self, frames: list[RawFrame], now: float) -> None:
        at = 0
        while at < len(frames) and self.state is not ClientState.CLOSED:
            kind, payload = frames[at]
            if kind == FrameType.RECV_PACKET:
                at = self._receive_run(frames, at)
                continue
            self._handle_frame(parse_frame(kind, payload), now)
            at += 1

    def _receive_run(self, frames: list[RawFrame], at: int) -> int:
        """One event for consecutive packets of one source; the index after them."""
        source = frames[at][1][:32]
        packets: list[bytes] = []
        while at < len(frames) and frames[at][0] == FrameType.RECV_PACKET and frames[at][1][:32] == source:
            packets.append(frames[at][1][32:])
            at += 1
        self._events.append(PacketsReceived(NodePublicKey(source), tuple(packets)))
        return at

    def _handle_frame(self, frame: Frame, now: float) -> None:
        match frame:
            case ServerKey(key) if self.state is ClientState.AWAIT_KEY:
                self._introduce(key)
            case ServerInfoBox() if self.state is ClientState.AWAIT_INFO:
                self._open(frame, now)
            case PeerGone(peer, reason):
                self._events.append(PeerLeft(peer, reason == PeerGoneReason.NOT_HERE))
            case PeerPresent(peer):
                self._events.append(PeerArrived(peer))
            case Ping(data):
                self._output.append(encode_frame(Pong(data)))
            case Pong(data):
                self._events.append(PongReceived(data))
            case Health(problem):
                self._events.append(HealthReported(problem))
            case Restarting(reconnect_in_ms, try_for_ms):
                self._events.append(ServerRestarting(reconnect_in_ms, try_for_ms))
            case KeepAlive() | RecvPacket() | _:
                return

    def _open(self, frame: ServerInfoBox, now: float) -> None:
        assert self._server is not None
        info = open_server_info(self._private, self._server, frame)
        if info.version and info.version < PROTOCOL_VERSION:
            return self._close(f"the server speaks DERP version {info.version}, too old")
        self.state = ClientState.OPEN
        self._deadline = now + READ_TIMEOUT_S
        if info.bytes_per_s:
            self._bucket = TokenBucket(info.bytes_per_s, info.burst_bytes or info.bytes_per_s)
        self._events.append(Connected(self._server, info))
