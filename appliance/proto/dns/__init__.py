"""DNS messages (RFC 1035, RFC 6891), as far as a forwarding resolver with names of its own reads and writes them."""

from appliance.proto.dns.build import Answer, build_query, build_reply, error_reply, truncated
from appliance.proto.dns.names import encode_name, from_reverse, is_below, parent, reverse_name
from appliance.proto.dns.query import Edns, Query, parse_query
from appliance.proto.dns.reply import Record, Reply, parse_reply

__all__ = [
    "Answer",
    "Edns",
    "Query",
    "Record",
    "Reply",
    "build_query",
    "build_reply",
    "encode_name",
    "error_reply",
    "from_reverse",
    "is_below",
    "parent",
    "parse_query",
    "parse_reply",
    "reverse_name",
    "truncated",
]
