"""Trains: a server of ours sends many large answers at once, so that a client sees how fast they come down its line.

No part of RFC 5389, but two attributes that servers skip who do not know them. The client asks for a ticket, and by
showing it proves that the address is its own; then it gets its train, once. The answer to who asks is no longer than
the question.

| Attribute | Where | Value |
|---|---|---|
| 0xFFF0 filling | any message | zeros |
| 0xFFF1 ticket | request | ticket, 16 bytes (zeros: one is asked for); packets, 2 bytes big-endian; 2 zeros |
| 0xFFF1 ticket | response | ticket, 16 bytes |
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.proto.stun.message import (
    HEADER_SIZE,
    TICKET_SIZE,
    TICKET_TYPE,
    attributes_of,
    encode_attribute,
    encode_request,
    encode_response,
    parse_request,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason

PACKET_BYTES = 1200
"""Of each request or answer of a train."""
MOST_PACKETS = 256
NO_TICKET = bytes(TICKET_SIZE)
TRAIN_REQUEST_SIZE = 64

_FILLING_TYPE = 0xFFF0
_HEAD = 4


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """`ticket` `NO_TICKET`: one is asked for. `packets`: 1 to 256 otherwise."""

    tx_id: bytes
    ticket: bytes
    packets: int


def encode_large_request(tx_id: bytes) -> bytes:
    """An ordinary request of `PACKET_BYTES`."""
    return encode_request(tx_id, _filling(PACKET_BYTES - len(encode_request(tx_id))))


def encode_train_request(tx_id: bytes, ticket: bytes = NO_TICKET, packets: int = 0) -> bytes:
    """64 bytes."""
    return encode_request(tx_id, encode_attribute(TICKET_TYPE, ticket + packets.to_bytes(2, "big") + bytes(2)))


def parse_train_request(packet: bytes) -> TrainRequest:
    """Raises `DecodeError`, also for an ordinary request."""
    tx_id = parse_request(packet)
    for kind, value in attributes_of(packet[HEADER_SIZE:]):
        if kind == TICKET_TYPE and len(value) == TICKET_SIZE + 4:
            ticket, packets = value[:TICKET_SIZE], int.from_bytes(value[TICKET_SIZE : TICKET_SIZE + 2], "big")
            if packets > MOST_PACKETS or bool(packets) != (ticket != NO_TICKET):
                break
            return TrainRequest(tx_id, ticket, packets)
    raise DecodeError(DecodeReason.BAD_VALUE, "STUN request for a train")


def encode_ticket(tx_id: bytes, mapped: AddrPort, ticket: bytes) -> bytes:
    """The answer to who asks for a ticket: 52 bytes for IPv4, 64 for IPv6."""
    return encode_response(tx_id, mapped, encode_attribute(TICKET_TYPE, ticket))


def encode_train_packet(tx_id: bytes, mapped: AddrPort) -> bytes:
    """One of the train; all are alike."""
    return encode_response(tx_id, mapped, _filling(PACKET_BYTES - len(encode_response(tx_id, mapped))))


def _filling(size: int) -> bytes:
    return encode_attribute(_FILLING_TYPE, bytes(size - _HEAD))
