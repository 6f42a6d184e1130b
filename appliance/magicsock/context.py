"""What the machines of all peers share: identity, the outbox, which addresses are acceptable, proven addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from appliance.magicsock.outbox import Outbox
from appliance.proto.disco import HardNat
from appliance.types.addresses import ULA_V6, Address, AddrPort
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import Node


def single_overlay_addresses(node: Node) -> tuple[Address, ...]:
    """The node's own overlay addresses."""
    return tuple(prefix.network_address for prefix in node.addresses)


class PathContext:
    """Shared by every `PeerPaths`. `generation` counts major link changes: what was proven before is void.

    `path_left`: a proven path died since the owner looked; our own network may have changed unnoticed.
    `asks_sizes`: whether the size of packets that pass is asked for; `keeps_idle`: whether idle paths are kept (3.10).
    `side_pings`: (peer, source, side socket) of pings that came aside; `hard_nat_words`: what peers said of hard NATs.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.node_key: NodePublicKey | None = None
        self.generation = 0
        self.proven: dict[AddrPort, NodePublicKey] = {}
        self.call_me_maybe_wanted: list[NodePublicKey] = []
        self.path_left = False
        self.asks_sizes = False
        self.keeps_idle = False
        self.side_pings: list[tuple[NodePublicKey, AddrPort, int]] = []
        self.hard_nat_words: list[tuple[NodePublicKey, HardNat]] = []
        self._overlay: Counter[Address] = Counter()

    def add_overlay(self, addresses: Iterable[Address]) -> None:
        self._overlay.update(addresses)

    def remove_overlay(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._overlay[address] -= 1
            if self._overlay[address] <= 0:
                del self._overlay[address]

    def is_overlay(self, address: Address) -> bool:
        """Whether the address lies inside the tunnel: a path through it would loop (6.7).

        All of the ULA range, but of 100.64.0.0/10 only what the netmap has given away: the rest may be a provider's.
        """
        if isinstance(address, IPv6Address) and address in ULA_V6:
            return True
        return address in self._overlay

    def acceptable(self, endpoint: AddrPort) -> bool:
        """Whether a peer may be reached there at all."""
        if not endpoint.port:
            return False
        try:
            address = endpoint.address
        except ValueError:
            return False
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            return False
        if isinstance(address, IPv6Address) and address.is_link_local:
            return False
        if isinstance(address, IPv4Address) and int(address) == 0xFFFFFFFF:
            return False
        return not self.is_overlay(address)


__all__ = ["PathContext", "single_overlay_addresses"]
