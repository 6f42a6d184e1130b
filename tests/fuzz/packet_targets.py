"""Packets of sites that are translated on their way, and what answers a ping."""

from __future__ import annotations

from contextlib import suppress

from appliance.proto.icmp import parse_reply
from appliance.types.errors import DecodeError
from appliance.types.packets import TunPacket
from tests.contract.packets import tcp, udp
from tests.fuzz.runner import Target
from tests.unit.appliance.proto.siit.world import HOST, PEER, VIA_HOST, ends, icmp, one, translator

KNOWN = TunPacket(udp(PEER, VIA_HOST, b""))
STAND_IN = ends(one(translator().translate([KNOWN], 0.0)))[0]
SEEDS = [
    udp(PEER, VIA_HOST, b"data" * 20),
    tcp(PEER, VIA_HOST, b"data" * 20),
    icmp(PEER, VIA_HOST, 128, 0, b"\0\1\0\2ping"),
    icmp(PEER, VIA_HOST, 1, 0, bytes(4) + udp(VIA_HOST, PEER, b"data")),
    udp(HOST, STAND_IN, b"data" * 20),
    icmp(HOST, STAND_IN, 3, 3, bytes(4) + udp(STAND_IN, HOST, b"data")),
    icmp(HOST, STAND_IN, 0, 0, b"\0\1\0\2ping"),
]


def run_packet(data: bytes) -> None:
    """Translated, and read as the answer to a ping."""
    made = translator()
    made.translate([KNOWN], 0.0)
    for packet in made.translate([TunPacket(data)], 0.0):
        assert len(packet.data) <= 65535 + 40
    for version in (4, 6):
        with suppress(DecodeError):
            assert len(parse_reply(version, data).data) <= len(data) - 8


TARGETS = (Target("packets", run_packet, SEEDS, ("appliance/proto/siit", "appliance/proto/icmp")),)
