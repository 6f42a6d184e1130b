"""WebSocket frames, the server's side, as far as DERP needs them (RFC 6455; derp spec 1.4)."""

from appliance.proto.websocket.frames import (
    CloseCode,
    Message,
    Opcode,
    ServerParser,
    accept_value,
    encode_binary,
    encode_close,
    encode_control,
)

__all__ = [
    "CloseCode",
    "Message",
    "Opcode",
    "ServerParser",
    "accept_value",
    "encode_binary",
    "encode_close",
    "encode_control",
]
