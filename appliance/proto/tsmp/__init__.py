"""TSMP, IP protocol 99: short messages between the nodes of a mesh inside the tunnel, never for their hosts."""

from appliance.proto.tsmp.messages import (
    DiscoAdvertisement,
    Message,
    Ping,
    Pong,
    Rejected,
    RejectReason,
    encode_message,
    parse_message,
)
from appliance.proto.tsmp.packet import PROTOCOL, Packet, encode_packet, parse_packet
from appliance.proto.tsmp.refusal import refusal

__all__ = [
    "PROTOCOL",
    "DiscoAdvertisement",
    "Message",
    "Packet",
    "Ping",
    "Pong",
    "RejectReason",
    "Rejected",
    "encode_message",
    "encode_packet",
    "parse_message",
    "parse_packet",
    "refusal",
]
