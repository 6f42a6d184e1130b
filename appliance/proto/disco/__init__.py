"""Disco: the path-discovery protocol between nodes (magicsock-disco spec section 1)."""

from appliance.crypto.box import NONCE_SIZE
from appliance.proto.disco.demux import PacketKind, classify
from appliance.proto.disco.hard_nat import (
    ATTEMPT_ID_SIZE,
    HardNat,
    HardNatStep,
    NatClass,
    NatMapping,
    PortRule,
)
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
    "ATTEMPT_ID_SIZE",
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
    "HardNat",
    "HardNatStep",
    "Message",
    "MessageType",
    "NatClass",
    "NatMapping",
    "PacketKind",
    "Ping",
    "Pong",
    "PortRule",
    "RelayEndpoint",
    "classify",
    "encode_message",
    "is_disco",
    "parse_message",
    "sender_key",
]
