"""Ports of the peer API and how a peer's is found (apps spec 1.1, 1.2)."""

from __future__ import annotations

import zlib

from appliance.types.addresses import Address, AddrPort
from appliance.types.netmap import Node

PROTO = {4: "peerapi4", 6: "peerapi6"}
"""Names in `Hostinfo.Services` by IP version."""
PORT_TRIES = 5
NAMES_PATH = "/dns-query"
"""Where DNS over HTTP is answered (apps spec 1.5)."""


def port_choice(address: Address, attempt: int = 0) -> int:
    """The port to try on an own address; the same at every start. `attempt` is 0 to 4."""
    tail = bytearray(address.packed[-3:])
    tail[0] = (tail[0] + attempt) % 256
    return 0x8000 | (zlib.crc32(tail) & 0xFFFF)


def peer_endpoint(own: Node, peer: Node) -> AddrPort | None:
    """Where this node reaches the peer API of a peer, IPv4 first; None when it has none that we can reach."""
    for version in (4, 6):
        address = peer.address(version)
        port = next((number for proto, number, _ in peer.services if proto == PROTO[version]), 0)
        if own.address(version) is not None and address is not None and 0 < port < 65536:
            return AddrPort(str(address), port)
    return None
