"""The seam for packets that a node sends to other nodes through the tunnel itself, beside its host (IP protocol 99).

An engine implements `TsmpPort`: it takes such packets out of what it receives and gives them to the handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appliance.types.keys import NodePublicKey


class TsmpHandler(Protocol):
    """Called in the event loop's thread; quick, never blocks, never raises."""

    def first_packet(self, peer: NodePublicKey) -> bytes | None:
        """An IP packet to be the first user data on a new key pair with `peer`; None = nothing."""
        ...

    def tsmp_received(self, peer: NodePublicKey, packet: bytes) -> None:
        """An IP packet of protocol 99 that `peer` authenticated and whose source is one of its allowed addresses."""
        ...


class TsmpPort(Protocol):
    """What the mesh's own services ask of the engine."""

    def set_tsmp_handler(self, handler: TsmpHandler) -> None: ...

    def send_packet(self, peer: NodePublicKey, packet: bytes) -> None:
        """Send an IP packet into the tunnel as the host would, waiting for a handshake where one is needed."""
        ...


class MemoryTsmpPort:
    """The twin of `TsmpPort`: keeps what was sent."""

    def __init__(self) -> None:
        self.tsmp_handler: TsmpHandler | None = None
        self.packets: list[tuple[NodePublicKey, bytes]] = []
        self.on_packet: Callable[[NodePublicKey, bytes], None] | None = None

    def set_tsmp_handler(self, handler: TsmpHandler) -> None:
        self.tsmp_handler = handler

    def send_packet(self, peer: NodePublicKey, packet: bytes) -> None:
        self.packets.append((peer, packet))
        if self.on_packet is not None:
            self.on_packet(peer, packet)
