"""Who is connected, and from whom to whom packets go (derp spec 3.2, 3.7, 3.8). No IO: connections queue and write.

A mesh of servers (spec section 4) would add forwarders beside `_peers`: `forward` is where they are asked.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from appliance.proto.derp.frames import FrameType, PeerGone, PeerGoneReason, encode_frame
from appliance.proto.disco.packet import HEADER_SIZE as DISCO_HEADER_SIZE
from appliance.proto.disco.packet import MAGIC as DISCO_MAGIC
from appliance.types.keys import NodePublicKey
from control.derp.metrics import DropReason

if TYPE_CHECKING:
    from control.derp.metrics import DerpMetrics

_HEADER = struct.Struct(">BI")
_DISCO_PAYLOAD = 32 + DISCO_HEADER_SIZE


class Receiver(Protocol):
    """A registered connection as the relay sees it. `heard` are senders whose packets it got."""

    raw_key: bytes
    heard: set[bytes]

    def enqueue(self, frame: bytes, is_disco: bool) -> None: ...

    def enqueue_control(self, frame: bytes) -> None: ...

    def allow_peer_gone(self) -> bool:
        """Whether one more "not here" may be sent now (1 a second, burst 3)."""
        ...


class PeerConnections:
    """All connections of one key; the last one that wrote is active."""

    __slots__ = ("_order", "active")

    def __init__(self, first: Receiver) -> None:
        self._order = [first]
        self.active = first

    def add(self, connection: Receiver) -> None:
        self._order.append(connection)
        self.active = connection

    def remove(self, connection: Receiver) -> bool:
        """Whether none is left."""
        self._order.remove(connection)
        if self._order:
            self.active = self._order[-1]
        return not self._order

    def activate(self, connection: Receiver) -> None:
        """A frame came from this one."""
        self._order.remove(connection)
        self.add(connection)

    def all(self) -> list[Receiver]:
        return list(self._order)

    def __len__(self) -> int:
        return len(self._order)


class Relay:
    """The registry of one server. Keys are raw bytes: they are looked up for every packet."""

    def __init__(self, metrics: DerpMetrics) -> None:
        self._metrics = metrics
        self._peers: dict[bytes, PeerConnections] = {}
        self._interested: dict[bytes, set[Receiver]] = {}

    def register(self, connection: Receiver) -> PeerConnections:
        peers = self._peers.get(connection.raw_key)
        if peers is None:
            peers = self._peers[connection.raw_key] = PeerConnections(connection)
        else:
            peers.add(connection)
        return peers

    def unregister(self, connection: Receiver) -> None:
        """Forget a connection; when it was its key's last, tell who got packets from it."""
        for sender in connection.heard:
            waiting = self._interested.get(sender)
            if waiting is not None:
                waiting.discard(connection)
                if not waiting:
                    del self._interested[sender]
        peers = self._peers[connection.raw_key]
        if peers.remove(connection):
            del self._peers[connection.raw_key]
            self._announce_gone(connection.raw_key)

    def _announce_gone(self, raw_key: bytes) -> None:
        frame = encode_frame(PeerGone(NodePublicKey(raw_key), PeerGoneReason.DISCONNECTED))
        for receiver in self._interested.pop(raw_key, ()):
            receiver.heard.discard(raw_key)
            receiver.enqueue_control(frame)
            self._metrics.peer_gone_disconnected += 1

    def forward(self, sender: Receiver, payload: bytes) -> None:
        """A SendPacket payload (destination key and packet) becomes a RecvPacket at its destination."""
        is_disco = payload[32:38] == DISCO_MAGIC and len(payload) >= _DISCO_PAYLOAD
        peers = self._peers.get(payload[:32])
        if peers is None:
            self._unknown(sender, payload, is_disco)
            return
        receiver, source = peers.active, sender.raw_key
        if source not in receiver.heard:
            receiver.heard.add(source)
            self._interested.setdefault(source, set()).add(receiver)
        receiver.enqueue(_HEADER.pack(FrameType.RECV_PACKET, len(payload)) + source + payload[32:], is_disco)

    def _unknown(self, sender: Receiver, payload: bytes, is_disco: bool) -> None:
        """Only disco is answered: WireGuard retries into the void would make a storm (3.2)."""
        self._metrics.drop(DropReason.UNKNOWN_DEST, is_disco)
        if is_disco and sender.allow_peer_gone():
            self._metrics.peer_gone_not_here += 1
            sender.enqueue_control(encode_frame(PeerGone(NodePublicKey(payload[:32]), PeerGoneReason.NOT_HERE)))

    def connections_of(self, key: NodePublicKey) -> list[Receiver]:
        peers = self._peers.get(key.raw)
        return peers.all() if peers is not None else []

    def keys(self) -> list[NodePublicKey]:
        return [NodePublicKey(raw) for raw in self._peers]

    @property
    def duplicate_keys(self) -> int:
        """Keys with several connections; lasting ones are cloned disks."""
        return sum(1 for peers in self._peers.values() if len(peers) > 1)

    def __len__(self) -> int:
        """Keys connected."""
        return len(self._peers)
