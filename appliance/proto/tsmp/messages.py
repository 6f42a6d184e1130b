"""Messages of TSMP (magicsock-disco spec 1.8, node-os spec 1.4). Big-endian; the first byte is the type.

Bytes behind what a type needs are ignored, as later versions may add some.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPublicKey

KEY_SIZE = 32
PING_DATA_SIZE = 8

_ADVERTISEMENT = ord("a")
_PING = ord("p")
_PONG = ord("o")
_REJECTED = ord("!")
_PONG_BODY = struct.Struct(">8sH")
_REJECTED_BODY = struct.Struct(">BBHH")
_MAYBE_BROKEN = 1


class RejectReason(IntEnum):
    """Why a flow was refused; numbers outside are kept as they came."""

    ACL = ord("A")
    SHIELDS_UP = ord("S")
    FORWARDING = ord("F")
    HOST_FIREWALL = ord("W")
    UNKNOWN_TRANSIT_IP = ord("T")


@dataclass(frozen=True, slots=True)
class DiscoAdvertisement:
    """1:32 the sender's disco key; an all-zero key says nothing and is refused."""

    disco_key: DiscoPublicKey


@dataclass(frozen=True, slots=True)
class Ping:
    """1:8 data that the pong brings back."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """1:8 data of the ping; 9:2 TCP port of the sender's peer API, 0 = none."""

    data: bytes
    peerapi_port: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """1:1 IP protocol; 2:1 reason; 3:2 and 5:2 ports of the refused flow; 7:1 flags, absent when zero.

    The IP header goes from the flow's destination to its source. `maybe_broken`: the sender's host may be at fault.
    """

    protocol: int
    reason: int
    source_port: int
    destination_port: int
    maybe_broken: bool = False


Message = DiscoAdvertisement | Ping | Pong | Rejected


def encode_message(message: Message) -> bytes:
    """The payload of the IP packet. Raises `ValueError` for data of a wrong size."""
    match message:
        case DiscoAdvertisement():
            return bytes([_ADVERTISEMENT]) + message.disco_key.raw
        case Ping():
            return bytes([_PING]) + _sized(message.data)
        case Pong():
            return bytes([_PONG]) + _PONG_BODY.pack(_sized(message.data), message.peerapi_port)
        case Rejected():
            ports = (message.source_port, message.destination_port)
            body = bytes([_REJECTED]) + _REJECTED_BODY.pack(message.protocol, message.reason, *ports)
            return body + (bytes([_MAYBE_BROKEN]) if message.maybe_broken else b"")


def _sized(data: bytes) -> bytes:
    if len(data) != PING_DATA_SIZE:
        raise ValueError("a TSMP ping carries 8 bytes")
    return data


def parse_message(data: bytes | memoryview) -> Message:
    """Raises `DecodeError` (TOO_SHORT, BAD_TYPE, BAD_KEY)."""
    if not len(data):
        raise DecodeError(DecodeReason.TOO_SHORT, "TSMP")
    body = bytes(data[1:])
    match data[0]:
        case 0x61:
            return _advertisement(body)
        case 0x70:
            return Ping(_needed(body, PING_DATA_SIZE))
        case 0x6F:
            return Pong(*_PONG_BODY.unpack(_needed(body, _PONG_BODY.size)))
        case 0x21:
            return _rejected(body)
        case _:
            raise DecodeError(DecodeReason.BAD_TYPE, "TSMP")


def _needed(body: bytes, size: int) -> bytes:
    if len(body) < size:
        raise DecodeError(DecodeReason.TOO_SHORT, "TSMP")
    return body[:size]


def _advertisement(body: bytes) -> DiscoAdvertisement:
    raw = _needed(body, KEY_SIZE)
    if not any(raw):
        raise DecodeError(DecodeReason.BAD_KEY, "zero disco key")
    return DiscoAdvertisement(DiscoPublicKey(raw))


def _rejected(body: bytes) -> Rejected:
    protocol, reason, source, destination = _REJECTED_BODY.unpack(_needed(body, _REJECTED_BODY.size))
    flags = body[_REJECTED_BODY.size] if len(body) > _REJECTED_BODY.size else 0
    return Rejected(protocol, reason, source, destination, bool(flags & _MAYBE_BROKEN))
