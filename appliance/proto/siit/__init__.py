"""IP/ICMP translation between IPv6 and IPv4 (RFC 7915), for addresses of the form of 4via6 (apps spec 7.7)."""

from appliance.proto.siit.bindings import Bindings
from appliance.proto.siit.translator import Counters, Drop, Translator

__all__ = ["Bindings", "Counters", "Drop", "Translator"]
