"""The Geneve header of peer relays (RFC 8926 without options; magicsock-disco spec 1.4)."""

from appliance.proto.geneve.header import (
    HEADER_SIZE,
    MAX_VNI,
    PROTOCOL_DISCO,
    PROTOCOL_WIREGUARD,
    GeneveHeader,
    encode_header,
    parse_header,
)

__all__ = [
    "HEADER_SIZE",
    "MAX_VNI",
    "PROTOCOL_DISCO",
    "PROTOCOL_WIREGUARD",
    "GeneveHeader",
    "encode_header",
    "parse_header",
]
