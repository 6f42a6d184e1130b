"""Wake-on-LAN: the magic packet at which a sleeping network card wakes its host, and what nodes say about it."""

from appliance.proto.wake_on_lan.answer import MAX_ANSWER, encode_answer, parse_answer
from appliance.proto.wake_on_lan.packet import PORT, magic_packet, normal_mac, parse_magic_packet

__all__ = [
    "MAX_ANSWER",
    "PORT",
    "encode_answer",
    "magic_packet",
    "normal_mac",
    "parse_answer",
    "parse_magic_packet",
]
