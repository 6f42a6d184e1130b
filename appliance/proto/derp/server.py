"""The server's end of the DERP handshake, without IO (derp spec 1.5).

    AWAIT_CLIENT --ClientInfo opened--> ADMITTING --accept()--> ACCEPTED
    AWAIT_CLIENT --bad bytes, wrong first frame, 10 s--> FAILED

Relaying between connections is `control.derp`'s work; this machine ends where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from appliance.crypto.x25519 import public_key
from appliance.proto.derp.frames import ClientInfoBox, FrameType, ServerKey, encode_frame, parse_frame
from appliance.proto.derp.handshake import ClientInfo, ServerInfo, open_client_info, seal_server_info
from appliance.proto.derp.parser import FrameParser, RawFrame
from appliance.proto.derp.upgrade import upgrade_response
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DerpPrivateKey, NodePublicKey

HANDSHAKE_TIMEOUT_S = 10.0


class HandshakeState(Enum):
    AWAIT_CLIENT = "await-client"
    ADMITTING = "admitting"
    ACCEPTED = "accepted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A client that owns `key`; the caller decides whether it may stay."""

    key: NodePublicKey
    info: ClientInfo


class ServerHandshake:
    """From the upgrade to the first relayed frame. Bytes may come in any cut; early frames are kept for the relay.

    `answer_upgrade` False for a fast start or WebSocket: no 101, ServerKey goes first.
    """

    def __init__(self, private: DerpPrivateKey, now: float, *, answer_upgrade: bool) -> None:
        self._private = private
        self._parser = FrameParser()
        self._early: list[RawFrame] = []
        own = public_key(private)
        self._output = (upgrade_response(own) if answer_upgrade else b"") + encode_frame(ServerKey(own))
        self.deadline = now + HANDSHAKE_TIMEOUT_S
        self.state = HandshakeState.AWAIT_CLIENT
        self.hello: ClientHello | None = None
        self.error: DecodeError | None = None

    def receive_data(self, data: bytes) -> ClientHello | None:
        """The hello when these bytes complete it. Never raises: a failure sets `state` and `error`."""
        if self.state is HandshakeState.FAILED:
            return None
        try:
            self._early += self._parser.feed(data)
            if self.state is HandshakeState.AWAIT_CLIENT and self._early:
                self.hello = self._open(*self._early.pop(0))
                self.state = HandshakeState.ADMITTING
                return self.hello
        except DecodeError as error:
            self.error = error
            self.state = HandshakeState.FAILED
        return None

    def data_to_send(self) -> bytes:
        """Bytes for the client, handed out once."""
        data, self._output = self._output, b""
        return data

    def handle_timer(self, now: float) -> None:
        """A client that did not introduce itself in time has failed."""
        if self.state is HandshakeState.AWAIT_CLIENT and now >= self.deadline:
            self.error = DecodeError(DecodeReason.TOO_SHORT, "no ClientInfo within 10 s")
            self.state = HandshakeState.FAILED

    def accept(self, nonce: bytes, info: ServerInfo) -> tuple[bytes, FrameParser, list[RawFrame]]:
        """ServerInfo frame for the client, the parser to go on with, and frames that came early."""
        assert self.state is HandshakeState.ADMITTING
        assert self.hello is not None
        self.state = HandshakeState.ACCEPTED
        frame = encode_frame(seal_server_info(self._private, self.hello.key, info, nonce))
        return frame, self._parser, self._early

    def _open(self, kind: int, payload: bytes) -> ClientHello:
        if kind != FrameType.CLIENT_INFO:
            raise DecodeError(DecodeReason.UNEXPECTED, "first frame is not ClientInfo")
        box = parse_frame(kind, payload)
        assert isinstance(box, ClientInfoBox)
        return ClientHello(box.key, open_client_info(self._private, box))
