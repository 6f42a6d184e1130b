"""ICMP echo for both IP versions (RFC 792, RFC 4443 section 4)."""

from appliance.proto.icmp.echo import Echo, encode_request, parse_reply

__all__ = ["Echo", "encode_request", "parse_reply"]
