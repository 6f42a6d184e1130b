"""Disco: the path-discovery protocol between nodes (magicsock-disco spec section 1)."""

from appliance.crypto.box import NONCE_SIZE
from appliance.proto.disco.demux import PacketKind, classify
from appliance.proto.disco.messages import (
    AllocateRelayEndpointRequest,
    AllocateRelayEndpointResponse,
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    CallMeMaybe,
    CallMeMaybeVia,
    Message,
    MessageType,
    Ping,
    Pong,
    RelayEndpoint,
    encode_message,
    parse_message,
)
from appliance.proto.disco.packet import MAGIC, DiscoKeys, is_disco, sender_key

__all__ = [
    "MAGIC",
    "NONCE_SIZE",
    "AllocateRelayEndpointRequest",
    "AllocateRelayEndpointResponse",
    "BindRelayEndpoint",
    "BindRelayEndpointAnswer",
    "BindRelayEndpointChallenge",
    "CallMeMaybe",
    "CallMeMaybeVia",
    "DiscoKeys",
    "Message",
    "MessageType",
    "PacketKind",
    "Ping",
    "Pong",
    "RelayEndpoint",
    "classify",
    "encode_message",
    "is_disco",
    "parse_message",
    "sender_key",
]
