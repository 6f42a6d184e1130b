"""STUN, the subset that this field uses (RFC 5389; derp spec section 8)."""

from appliance.proto.stun.message import (
    HEADER_SIZE,
    TX_ID_SIZE,
    BindingResponse,
    encode_request,
    encode_response,
    is_stun,
    parse_foreign_request,
    parse_request,
    parse_response,
)
from appliance.proto.stun.train import (
    PACKET_BYTES,
    TRAIN_REQUEST_SIZE,
    TrainRequest,
    encode_large_request,
    encode_ticket,
    encode_train_packet,
    encode_train_request,
    parse_train_request,
)

__all__ = [
    "HEADER_SIZE",
    "PACKET_BYTES",
    "TRAIN_REQUEST_SIZE",
    "TX_ID_SIZE",
    "BindingResponse",
    "TrainRequest",
    "encode_large_request",
    "encode_request",
    "encode_response",
    "encode_ticket",
    "encode_train_packet",
    "encode_train_request",
    "is_stun",
    "parse_foreign_request",
    "parse_request",
    "parse_response",
    "parse_train_request",
]
