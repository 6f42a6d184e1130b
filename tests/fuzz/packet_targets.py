"""Packets of sites that are translated on their way, and what answers a ping."""

from __future__ import annotations

from contextlib import suppress

from appliance.proto.icmp import parse_reply
from appliance.types.errors import DecodeError
from appliance.types.packets import TunPacket
from tests.fuzz.runner import Target
from tests.unit.appliance.proto.siit.world import HOST, KNOWN, PACKETS, STAND_IN, icmp, translator

ECHO_REPLY = icmp(HOST, STAND_IN, 0, 0, b"\0\1\0\2ping")


def run_packet(data: bytes) -> None:
    """Translated, and read as the answer to a ping."""
    made = translator()
    made.translate([KNOWN], 0.0)
    for packet in made.translate([TunPacket(data)], 0.0):
        assert len(packet.data) <= 65535 + 40
    for version in (4, 6):
        with suppress(DecodeError):
            assert len(parse_reply(version, data).data) <= len(data) - 8


TARGETS = (Target("packets", run_packet, [*PACKETS, ECHO_REPLY], ("appliance/proto/siit", "appliance/proto/icmp")),)
