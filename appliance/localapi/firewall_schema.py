"""The local API's words about the packet filter: a made-up packet in, a verdict out."""

from __future__ import annotations

import msgspec


class FirewallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The first packet of a flow that comes through the tunnel.

    `source` and `destination`: an address, or the name of a peer or of this node. `protocol`: tcp, udp, icmp, sctp or a
    number; `port` is the destination's.
    """

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 0


class FirewallVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """`packet` is the query with its names resolved, in words; `rule` counts filter rules from 1, None for no rule."""

    accepted: bool
    reason: str
    packet: str
    rule: int | None = None
