"""Who is connected, and from whom to whom packets go (derp spec 3.2, 3.7, 3.8). No IO: connections queue and write.

Servers of one region form a mesh (spec section 4): watchers are told who comes and goes, and packets for clients of
another server go to its forwarder, exactly one hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from appliance.proto.derp.frames import (
    HEADER,
    FrameType,
    PeerGone,
    PeerGoneReason,
    PeerPresent,
    PresentFlags,
    encode_frame,
)
from appliance.proto.disco.packet import HEADER_SIZE as DISCO_HEADER_SIZE
from appliance.proto.disco.packet import MAGIC as DISCO_MAGIC
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey
from control.derp.metrics import DropReason

if TYPE_CHECKING:
    from control.derp.metrics import DerpMetrics

_NOWHERE = "0.0.0.0"  # noqa: S104  # an address that is not known
_DISCO_PAYLOAD = 32 + DISCO_HEADER_SIZE
_FLOOD_FRAMES = 512
"""Present frames in one control frame's place: a new watcher is told of everybody at once."""


class Receiver(Protocol):
    """A registered connection as the relay sees it. `heard` are senders whose packets it got."""

    raw_key: bytes
    heard: set[bytes]
    is_mesh: bool
    ip: str

    def enqueue(self, frame: bytes, is_disco: bool) -> None: ...

    def enqueue_control(self, frame: bytes) -> None: ...

    def allow_peer_gone(self) -> bool:
        """Whether one more "not here" may be sent now (1 a second, burst 3)."""
        ...


class Forwarder(Protocol):
    """The way to another server of the region."""

    def forward(self, source: bytes, destination: bytes, packet: bytes) -> None: ...


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
        self._watchers: set[Receiver] = set()
        self._forwarders: dict[bytes, list[Forwarder]] = {}
        """By key of a client elsewhere in the region, the oldest first."""

    def register(self, connection: Receiver) -> PeerConnections:
        peers = self._peers.get(connection.raw_key)
        if peers is None:
            peers = self._peers[connection.raw_key] = PeerConnections(connection)
        else:
            peers.add(connection)
        if self._watchers:
            self._tell_watchers(_present(connection))
        return peers

    def unregister(self, connection: Receiver) -> None:
        """Forget a connection; when it was its key's last, tell watchers and those who got packets from it."""
        self._watchers.discard(connection)
        for sender in connection.heard:
            waiting = self._interested.get(sender)
            if waiting is not None:
                waiting.discard(connection)
                if not waiting:
                    del self._interested[sender]
        peers = self._peers[connection.raw_key]
        if peers.remove(connection):
            del self._peers[connection.raw_key]
            self._tell_watchers(_gone(connection.raw_key))
            self._announce_gone(connection.raw_key)

    def _announce_gone(self, raw_key: bytes) -> None:
        """To those who got packets from a key that is nowhere in the region any more."""
        if raw_key in self._peers or raw_key in self._forwarders:
            return
        frame = encode_frame(PeerGone(NodePublicKey(raw_key), PeerGoneReason.DISCONNECTED))
        for receiver in self._interested.pop(raw_key, ()):
            receiver.heard.discard(raw_key)
            receiver.enqueue_control(frame)
            self._metrics.peer_gone_disconnected += 1

    def forward(self, sender: Receiver, payload: bytes) -> None:
        """A SendPacket payload (destination key and packet) becomes a RecvPacket at its destination."""
        is_disco = payload[32:38] == DISCO_MAGIC and len(payload) >= _DISCO_PAYLOAD
        peers = self._peers.get(payload[:32])
        if peers is not None:
            self._deliver(peers.active, sender.raw_key, payload, is_disco)
            return
        forwarders = self._forwarders.get(payload[:32])
        if forwarders is not None:
            self._metrics.packets_forwarded_out += 1
            forwarders[0].forward(sender.raw_key, payload[:32], payload[32:])
            return
        self._unknown(sender, payload, is_disco, DropReason.UNKNOWN_DEST)

    def _deliver(self, receiver: Receiver, source: bytes, payload: bytes, is_disco: bool) -> None:
        """`payload` is the destination's key, which the source's replaces, and the packet."""
        if source not in receiver.heard:
            receiver.heard.add(source)
            self._interested.setdefault(source, set()).add(receiver)
        receiver.enqueue(HEADER.pack(FrameType.RECV_PACKET, len(payload)) + source + payload[32:], is_disco)

    def _unknown(self, sender: Receiver, payload: bytes, is_disco: bool, reason: DropReason) -> None:
        """Only disco is answered: WireGuard retries into the void would make a storm (3.2)."""
        self._metrics.drop(reason, is_disco)
        if is_disco and sender.allow_peer_gone():
            self._metrics.peer_gone_not_here += 1
            sender.enqueue_control(encode_frame(PeerGone(NodePublicKey(payload[:32]), PeerGoneReason.NOT_HERE)))

    # The mesh

    def watch(self, connection: Receiver) -> None:
        """Tell this server of the mesh who is here, now and from now on."""
        self._watchers.add(connection)
        frames = [_present(peers.active) for peers in self._peers.values()]
        for start in range(0, len(frames), _FLOOD_FRAMES):
            connection.enqueue_control(b"".join(frames[start : start + _FLOOD_FRAMES]))

    def _tell_watchers(self, frame: bytes) -> None:
        for watcher in tuple(self._watchers):
            watcher.enqueue_control(frame)

    def receive_forwarded(self, sender: Receiver, payload: bytes) -> None:
        """A ForwardPacket payload of another server: for our own clients only, never further."""
        source, rest = payload[:32], payload[32:]
        is_disco = rest[32:38] == DISCO_MAGIC and len(rest) >= _DISCO_PAYLOAD
        self._metrics.packets_forwarded_in += 1
        peers = self._peers.get(rest[:32])
        if peers is None:
            self._unknown(sender, rest, is_disco, DropReason.UNKNOWN_DEST_ON_FWD)
        else:
            self._deliver(peers.active, source, rest, is_disco)

    def add_forwarder(self, raw_key: bytes, forwarder: Forwarder) -> None:
        """Another server has this client."""
        known = self._forwarders.setdefault(raw_key, [])
        if forwarder not in known:
            known.append(forwarder)

    def remove_forwarder(self, raw_key: bytes, forwarder: Forwarder) -> None:
        """It has it no longer."""
        known = self._forwarders.get(raw_key)
        if known is None or forwarder not in known:
            return
        known.remove(forwarder)
        if not known:
            del self._forwarders[raw_key]
            self._announce_gone(raw_key)

    def forget_forwarder(self, forwarder: Forwarder) -> None:
        """The way to that server is lost."""
        for raw_key in [key for key, known in self._forwarders.items() if forwarder in known]:
            self.remove_forwarder(raw_key, forwarder)

    @property
    def remote_keys(self) -> int:
        """Clients of other servers that can be reached."""
        return len(self._forwarders)

    # What operators ask

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


def _present(connection: Receiver) -> bytes:
    flags = PresentFlags.MESH_PEER if connection.is_mesh else PresentFlags.REGULAR
    address = AddrPort(connection.ip or _NOWHERE, 0)
    return encode_frame(PeerPresent(NodePublicKey(connection.raw_key), address, flags))


def _gone(raw_key: bytes) -> bytes:
    return encode_frame(PeerGone(NodePublicKey(raw_key), PeerGoneReason.DISCONNECTED))
