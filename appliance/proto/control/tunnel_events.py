"""Events of the tunnel machines; immutable."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.proto.http1.head import Headers
from appliance.types.errors import DecodeReason
from appliance.types.keys import MachinePublicKey


@dataclass(frozen=True, slots=True)
class Established:
    """The Noise handshake is done. `peer`: the other side's machine key; `version`: the client's."""

    peer: MachinePublicKey
    version: int


@dataclass(frozen=True, slots=True)
class EarlyPayloadReceived:
    """The server's early payload, JSON text as sent (client side only)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A whole request with its body, at most 1 MiB (server side only). `path` is the `:path` with its query."""

    stream_id: int
    method: str
    path: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    stream_id: int
    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class BodyReceived:
    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The other side finished its part of the stream in order."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The other side reset the stream, or the tunnel ended below it; `code` is the HTTP/2 error code."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class StreamDrained:
    """Everything queued for the stream was handed to the wire; more may be queued."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class TunnelFailed:
    """The tunnel is unusable: send what is left and close. `reason` None = the other side said goodbye."""

    reason: DecodeReason | None
    text: str


TunnelEvent = (
    Established
    | EarlyPayloadReceived
    | RequestReceived
    | ResponseStarted
    | BodyReceived
    | StreamEnded
    | StreamFailed
    | StreamDrained
    | TunnelFailed
)
