"""Where a WireGuard message came from: a UDP address, a peer relay path, or a relay server's frame of a node.

The real source keys cookies and the handshake limiter: one shared fake address would put all relayed peers in one
bucket (magicsock-disco spec 2.3).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey


class GeneveSource(NamedTuple):
    """A peer relay's address and the virtual network that names the pair."""

    addr: AddrPort
    vni: int


class RelaySource(NamedTuple):
    """A relay server delivered it in the name of this node."""

    peer: NodePublicKey


Source = AddrPort | GeneveSource | RelaySource


@lru_cache(maxsize=1024)
def _packed(ip: str) -> bytes:
    return ip_address(ip.partition("%")[0]).packed


def cookie_bytes(source: Source) -> bytes:
    """What a cookie binds to: IP bytes and port, plus the VNI; the node key for relayed ones."""
    if isinstance(source, RelaySource):
        return source.peer.raw
    if isinstance(source, GeneveSource):
        return cookie_bytes(source.addr) + source.vni.to_bytes(3, "big")
    return _packed(source.ip) + source.port.to_bytes(2, "big")


def limiter_key(source: Source) -> bytes:
    """The host behind a source: IPv4 address, IPv6 /64, peer relay path, or node key."""
    if isinstance(source, AddrPort):
        packed = _packed(source.ip)
        return packed if len(packed) == 4 else packed[:8]
    return cookie_bytes(source)
