"""Multicast DNS messages (RFC 6762), as far as a reflector between networks takes them apart and writes them anew."""

from appliance.proto.mdns.message import (
    GROUP_V4,
    GROUP_V6,
    MAX_DATAGRAM,
    PORT,
    Message,
    Question,
    Record,
    encode_messages,
    parse_message,
)
from appliance.proto.mdns.names import Name, labels_of, name_of, text_of

__all__ = [
    "GROUP_V4",
    "GROUP_V6",
    "MAX_DATAGRAM",
    "PORT",
    "Message",
    "Name",
    "Question",
    "Record",
    "encode_messages",
    "labels_of",
    "name_of",
    "parse_message",
    "text_of",
]
