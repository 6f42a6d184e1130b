"""The ts2021 tunnel as two machines: Noise handshake, early payload, HTTP/2 in records (control-protocol sections 3-5).

Verbs: `receive_data`, `data_to_send`, `next_event` until None. No exception leaves a machine on network input: what
breaks the tunnel becomes `TunnelFailed`, after which `failed` is True and input is ignored.
"""

from __future__ import annotations

from appliance.proto.control import messages as wire
from appliance.proto.control.http2 import Http2
from appliance.proto.control.tunnel_events import (
    EarlyPayloadReceived,
    Established,
    StreamFailed,
    TunnelEvent,
    TunnelFailed,
)
from appliance.proto.control.upgrade import check_accepted, encode_upgrade
from appliance.proto.http1.head import Headers, parse_response_head
from appliance.proto.noise.frames import encode_error
from appliance.proto.noise.handshake import Initiator, Responder, Session
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import ChallengePublicKey, MachinePrivateKey, MachinePublicKey

EARLY_MAGIC = b"\xff\xff\xffTS"
EARLY_HEADER_SIZE = 9
EARLY_MIN_VERSION = 49
MAX_EARLY_PAYLOAD = 65536
_CANCEL = 8


class _Tunnel:
    """What both sides share once the handshake is done."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._http2: Http2 | None = None
        self._outgoing = bytearray()
        self._events: list[TunnelEvent] = []
        self.failed = False

    @property
    def peer(self) -> MachinePublicKey | None:
        """The other side's machine key; None before the handshake is done."""
        return self._session.peer if self._session is not None else None

    def next_event(self) -> TunnelEvent | None:
        if self._events:
            return self._events.pop(0)
        return self._http2.next_event() if self._http2 is not None else None

    def data_to_send(self) -> bytes:
        """All bytes for the wire so far."""
        if self._http2 is not None and self._session is not None:
            try:
                self._outgoing += self._session.writer.seal(self._http2.data_to_send())
            except DecodeError as error:
                self._fail(error.reason, error.text)
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def queued_bytes(self, stream_id: int) -> int:
        """Body bytes of the stream that wait for the other side's window."""
        return self._http2.queued_bytes(stream_id) if self._http2 is not None else 0

    @property
    def queued_total(self) -> int:
        """The same of all streams together."""
        return self._http2.queued_total if self._http2 is not None else 0

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open."""
        return self._http2 is None or not self._http2.open_streams()

    def reset(self, stream_id: int) -> None:
        """Abort a stream (CANCEL)."""
        if self._http2 is not None and not self.failed:
            self._http2.reset(stream_id)

    def close(self) -> None:
        """Say goodbye; send what `data_to_send` gives, then close the connection."""
        if self._http2 is not None and not self.failed:
            self._http2.close()

    def _fail(self, reason: DecodeReason | None, text: str) -> None:
        if self.failed:
            return
        self.failed = True
        if self._http2 is not None:
            self._events.extend(StreamFailed(stream_id, _CANCEL) for stream_id in self._http2.open_streams())
        self._events.append(TunnelFailed(reason, text))

    def _receive_http2(self, plaintext: bytes) -> None:
        assert self._http2 is not None
        if plaintext:
            self._http2.receive_data(plaintext)
        if self._http2.goodbye is not None:
            self._drain_http2_events()
            self._fail(None, self._http2.goodbye)

    def _drain_http2_events(self) -> None:
        """Keep the order: what HTTP/2 told comes before the failure."""
        assert self._http2 is not None
        while (event := self._http2.next_event()) is not None:
            self._events.append(event)


class ClientTunnel(_Tunnel):
    """The node's side, from the first byte after the TCP or TLS connection is up.

    `host` is the Host header. Requests may be queued at once; they leave when the handshake is done.
    """

    def __init__(self, host: str, initiator: Initiator) -> None:
        super().__init__()
        self._initiator = initiator
        self._outgoing += encode_upgrade(host, initiator.initiation())
        self._incoming = bytearray()
        self._upgraded = False
        self._early_done = False
        self._ready = Http2(client=True)

    def request(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> int:
        """Start a request; returns its stream id. Raises `DecodeError` (UNEXPECTED) when the tunnel is gone."""
        if self.failed:
            raise DecodeError(DecodeReason.UNEXPECTED, "the tunnel is closed")
        return self._ready.send_request(method, path, headers, body)

    def receive_data(self, data: bytes) -> None:
        if self.failed:
            return
        try:
            if self._session is None:
                self._incoming += data
                data = self._receive_handshake()
            if self._session is not None and data:
                self._receive_plaintext(self._session.reader.receive_data(data))
        except DecodeError as error:
            if self._http2 is not None:
                self._drain_http2_events()
            self._fail(error.reason, error.text)

    def receive_eof(self) -> None:
        """The connection ended."""
        self._fail(None, "connection ended")

    def _receive_handshake(self) -> bytes:
        """Consume the HTTP head and the Noise response; returns the bytes after them once both are there."""
        if not self._upgraded:
            parsed = parse_response_head(self._incoming)
            if parsed is None:
                return b""
            check_accepted(parsed[0])
            del self._incoming[: parsed[1]]
            self._upgraded = True
        result = self._initiator.receive_response(self._incoming)
        if result is None:
            return b""
        self._session, size = result
        rest = bytes(self._incoming[size:])
        self._incoming.clear()
        self._http2 = self._ready
        self._events.append(Established(self._session.peer, self._session.version))
        return rest

    def _receive_plaintext(self, plaintext: bytes) -> None:
        if self._early_done:
            self._receive_http2(plaintext)
            return
        self._incoming += plaintext
        if len(self._incoming) < EARLY_HEADER_SIZE:
            return
        if self._incoming.startswith(EARLY_MAGIC):
            size = int.from_bytes(self._incoming[5:EARLY_HEADER_SIZE], "big")
            if size > MAX_EARLY_PAYLOAD:
                raise DecodeError(DecodeReason.TOO_LONG, f"early payload of {size} bytes")
            end = EARLY_HEADER_SIZE + size
            if len(self._incoming) < end:
                return
            self._events.append(EarlyPayloadReceived(bytes(self._incoming[EARLY_HEADER_SIZE:end])))
            del self._incoming[:end]
        self._early_done = True
        rest = bytes(self._incoming)
        self._incoming.clear()
        self._receive_http2(rest)


class ServerTunnel(_Tunnel):
    """The control server's side, after the HTTP upgrade was accepted.

    Noise response, early payload and SETTINGS are ready to be sent at once, in one write (section 5). A malformed
    initiation leaves an error frame to send; a failed decryption leaves nothing.
    """

    def __init__(
        self,
        private: MachinePrivateKey,
        initiation: bytes,
        *,
        ephemeral_seed: bytes,
        challenge: ChallengePublicKey | None = None,
    ) -> None:
        super().__init__()
        try:
            session, response = Responder(private, ephemeral_seed=ephemeral_seed).receive_initiation(initiation)
        except DecodeError as error:
            if error.reason in (DecodeReason.BAD_LENGTH, DecodeReason.BAD_TYPE):
                self._outgoing += encode_error("malformed initiation")
            self._fail(error.reason, error.text)
            return
        self._session = session
        self._outgoing += response
        if challenge is not None and session.version >= EARLY_MIN_VERSION:
            self._outgoing += session.writer.seal(encode_early_payload(challenge))
        self._http2 = Http2(client=False)
        self._events.append(Established(session.peer, session.version))

    @property
    def version(self) -> int:
        """The client's capability version; 0 when the handshake failed."""
        return self._session.version if self._session is not None else 0

    def receive_data(self, data: bytes) -> None:
        if self.failed or self._session is None:
            return
        try:
            self._receive_http2(self._session.reader.receive_data(data))
        except DecodeError as error:
            self._drain_http2_events()
            self._fail(error.reason, error.text)

    def respond(self, stream_id: int, status: int, body: bytes, content_type: str = "application/json") -> None:
        """A whole reply."""
        headers = (("content-type", content_type), ("content-length", str(len(body))))
        self.start_response(stream_id, status, headers, end=not body)
        if body:
            self.send_body(stream_id, body, end=True)

    def start_response(self, stream_id: int, status: int, headers: Headers, *, end: bool = False) -> None:
        """Headers of a streamed reply; `send_body` follows."""
        if self._http2 is not None and not self.failed:
            self._http2.send_response(stream_id, status, headers, end=end)

    def send_body(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Queue body bytes; wait for `StreamDrained` before the next to bound memory."""
        if self._http2 is not None and not self.failed:
            self._http2.send_body(stream_id, data, end=end)


def encode_early_payload(challenge: ChallengePublicKey) -> bytes:
    """Magic, length u32 BE, JSON (section 5)."""
    payload = wire.encode(wire.EarlyPayload(node_key_challenge=str(challenge)))
    return EARLY_MAGIC + len(payload).to_bytes(4, "big") + payload
