"""One DERP client of the server: handshake, frames in, coalesced frames out (derp spec sections 1 and 3, 12)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from appliance.proto.derp.frames import FrameType, KeepAlive, Restarting, encode_frame, frame_bytes
from appliance.proto.derp.server import HandshakeState, ServerHandshake
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePublicKey
from control.derp.outbox import Outbox
from control.derp.throttle import Throttle

if TYPE_CHECKING:
    from appliance.proto.derp.parser import FrameParser, RawFrame
    from appliance.proto.derp.server import ClientHello
    from control.derp.relay import PeerConnections
    from control.derp.server import DerpServer

WRITE_TIMEOUT_S = 2.0
MESH_WRITE_TIMEOUT_S = 30.0
KEEPALIVE_S = 60.0
KEEPALIVE_JITTER_S = 5.0
SETTLE_S = 5.0
"""A change of NotePreferred later than this after connecting is a home move."""
PEER_GONE_RATE_S = 1.0
PEER_GONE_BURST = 3

_KEEPALIVE = encode_frame(KeepAlive())
_BYTES_ACKED = slice(120, 128)
"""`tcpi_bytes_acked` in struct tcp_info (linux/tcp.h), native order."""


class DerpConnection(asyncio.Protocol):
    """From the answered upgrade to the end. Implements `relay.Receiver`; all calls in the loop's thread."""

    def __init__(self, server: DerpServer, handshake: ServerHandshake, ip: str) -> None:
        self._server = server
        self._handshake = handshake
        self._parser: FrameParser | None = None
        self._peers: PeerConnections | None = None
        self._outbox = Outbox(server.counters)
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        self._pong_waits = False
        self._gone_tokens = float(PEER_GONE_BURST)
        self._gone_at = 0.0
        self._stalled_since = 0.0
        self._stall_mark = 0
        self._keepalive_s = KEEPALIVE_S
        self._since = server.clock.now()
        self.ip = ip
        self.raw_key = b""
        self.heard: set[bytes] = set()
        self.paused = False
        self.preferred = False
        self.is_mesh = False
        self._throttle = Throttle(server.limits_of_client, server.total_bucket)

    @property
    def registered(self) -> bool:
        return self._peers is not None

    def start(self, transport: asyncio.Transport, leftover: bytes) -> None:
        """Take over a transport whose upgrade request was read; `leftover` are the bytes after its head."""
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=1, low=0)  # paused = the kernel is full, exactly
        _tune(transport)
        self._server.wheel.set(self, self._handshake.deadline)
        transport.write(self._handshake.data_to_send())
        if leftover:
            self.data_received(leftover)

    # Bytes in

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._receive_handshake(data)
            return
        try:
            frames = self._parser.feed(data)
        except DecodeError:
            return self.abort("bad_frame")
        if frames:
            self._receive_frames(frames)

    def eof_received(self) -> bool:
        return False

    def _receive_handshake(self, data: bytes) -> None:
        hello = self._handshake.receive_data(data)
        if self._handshake.state is HandshakeState.FAILED:
            return self.abort("bad_handshake")
        if hello is not None:
            assert self._transport is not None
            self._transport.pause_reading()
            self._server.admit(self, hello)

    def admitted(self, hello: ClientHello, allowed: bool) -> None:
        """The server decided about this client."""
        if self._transport is None:
            return
        if not allowed:
            return self.abort("not_admitted")
        self.raw_key = hello.key.raw
        self.is_mesh = self._server.is_mesh(hello)
        answer, self._parser, early = self._handshake.accept(
            self._server.randomness.bytes(24), self._server.server_info
        )
        self._peers = self._server.registered(self)
        jitter = self._server.randomness.uniform(0, KEEPALIVE_JITTER_S)
        self._keepalive_s = KEEPALIVE_S + jitter
        self._server.wheel.set(self, self._server.clock.now() + self._keepalive_s)
        self._transport.write(answer)
        if early:
            self._receive_frames(early)
        self._read_on()

    def _receive_frames(self, frames: list[RawFrame]) -> None:
        peers = self._peers
        assert peers is not None
        if peers.active is not self:
            peers.activate(self)
        forward, counters = self._server.relay.forward, self._server.counters
        for kind, payload in frames:
            if kind == FrameType.SEND_PACKET:
                counters.packets_received += 1
                counters.bytes_received += len(payload)
                forward(self, payload)
            elif not self._receive_other(kind, payload):
                return
        if not self.is_mesh:
            self._throttled(sum(len(payload) for _, payload in frames))

    def _throttled(self, size: int) -> None:
        """Beyond its rate a client is read later: the delay reaches its own senders (3.10)."""
        wait_s = self._throttle.take(size, self._server.clock.now())
        if wait_s > 0 and self._transport is not None:
            self._server.counters.reads_delayed += 1
            self._transport.pause_reading()
            self._server.loop.call_later(wait_s, self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _receive_other(self, kind: int, payload: bytes) -> bool:
        """Anything but packets; False when it ended the connection. Types that clients do not send are ignored."""
        if kind == FrameType.PING:
            if not self._pong_waits:
                self._pong_waits = True
                self.enqueue_control(frame_bytes(FrameType.PONG, payload[:8]))
        elif kind == FrameType.NOTE_PREFERRED:
            self._note_preferred(payload != b"\x00")
        elif kind in (FrameType.WATCH_CONNS, FrameType.CLOSE_PEER, FrameType.FORWARD_PACKET):
            if not self.is_mesh:
                self.abort("not_mesh")
                return False
            self._receive_mesh(kind, payload)
        return True

    def _receive_mesh(self, kind: int, payload: bytes) -> None:
        """The parser has checked the lengths."""
        if kind == FrameType.FORWARD_PACKET:
            self._server.relay.receive_forwarded(self, payload)
        elif kind == FrameType.WATCH_CONNS:
            self._server.relay.watch(self)
        else:
            self._server.close_peer(NodePublicKey(payload))

    def _note_preferred(self, preferred: bool) -> None:
        if preferred != self.preferred and self._server.clock.now() - self._since > SETTLE_S:
            self._server.counters.home_moves += 1
        self.preferred = preferred

    # Bytes out

    def enqueue(self, frame: bytes, is_disco: bool) -> None:
        """Queue a packet. A burst larger than the queue goes out at once while the kernel takes it."""
        outbox = self._outbox
        if outbox.is_full(is_disco) and not self.paused:
            self._flush()
        outbox.add_packet(frame, is_disco)
        if not self._flushing and not self.paused:
            self._flushing = True
            self._server.loop.call_soon(self._flush)

    def enqueue_control(self, frame: bytes) -> None:
        if not self._outbox.add_control(frame) and not self.is_mesh:
            return self.abort("control_overflow")
        if not self._flushing and not self.paused:
            self._flushing = True
            self._server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._pong_waits = False
        transport, outbox = self._transport, self._outbox
        if transport is None or transport.is_closing():
            return
        while outbox and not self.paused:
            transport.write(outbox.take())

    def pause_writing(self) -> None:
        self.paused = True
        self._stalled_since = self._server.clock.now()
        self._stall_mark = self._progress()
        self._server.stalled.add(self)

    def resume_writing(self) -> None:
        self.paused = False
        self._server.stalled.discard(self)
        self._flush()

    def check_stall(self, now: float) -> None:
        """Called for paused connections: end one whose client took nothing for 2 s (3.4)."""
        mark = self._progress()
        if mark != self._stall_mark:
            self._stall_mark, self._stalled_since = mark, now
        elif now - self._stalled_since > (MESH_WRITE_TIMEOUT_S if self.is_mesh else WRITE_TIMEOUT_S):
            self._server.counters.write_timeouts += 1
            self.abort("write_timeout")

    def _progress(self) -> int:
        """A number that changes when the client acknowledges bytes."""
        assert self._transport is not None
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return self._transport.get_write_buffer_size()
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except OSError:  # the socket is closing; connection_lost follows
            return self._stall_mark
        return int.from_bytes(info[_BYTES_ACKED], "little")

    # Time and end

    def handle_due(self, now: float) -> None:
        """The wheel's call: the handshake took too long, or it is time for a keepalive."""
        if not self.registered:
            return self.abort("handshake_timeout")
        self._server.wheel.set(self, now + self._keepalive_s)
        self.enqueue_control(_KEEPALIVE)

    def allow_peer_gone(self) -> bool:
        now = self._server.clock.now()
        self._gone_tokens = min(PEER_GONE_BURST, self._gone_tokens + (now - self._gone_at) / PEER_GONE_RATE_S)
        self._gone_at = now
        if self._gone_tokens < 1:
            return False
        self._gone_tokens -= 1
        return True

    def abort(self, reason: str) -> None:
        """End at once; `connection_lost` tidies up."""
        if self._transport is not None:
            self._server.counters.closed[reason] += 1
            self._transport.abort()

    def restarting(self, reconnect_in_ms: int, try_for_ms: int) -> None:
        """Tell the client when to come back (frame 0x15)."""
        if self.registered and not self.is_mesh:
            self.enqueue_control(encode_frame(Restarting(reconnect_in_ms, try_for_ms)))

    def close(self) -> None:
        """End after what is queued was written, as far as the kernel takes it now."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._outbox.abandon()
        self._server.forget(self)


def _tune(transport: asyncio.Transport) -> None:
    """Dead clients are noticed by un-acknowledged keepalives within 15 s (3.5)."""
    sock = cast("socket.socket | None", transport.get_extra_info("socket"))
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 600)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)
