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

__all__ = [
    "HEADER_SIZE",
    "TX_ID_SIZE",
    "BindingResponse",
    "encode_request",
    "encode_response",
    "is_stun",
    "parse_foreign_request",
    "parse_request",
    "parse_response",
]
