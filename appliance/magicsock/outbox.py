"""What the machines ask of the world: actions, queued in order, and the sealing of disco messages on their way."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from appliance.ports.randomness import Randomness
from appliance.ports.underlay import PeerPath
from appliance.proto.disco import NONCE_SIZE, DiscoKeys, Message
from appliance.proto.geneve import PROTOCOL_DISCO, GeneveHeader, encode_header
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import Node


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """From the WireGuard port, or from the side socket of that number. `whole`: nobody on the way may fragment it."""

    to: AddrPort
    data: bytes
    socket: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """The answer is `receive_sockets`, before anything else is handled."""

    count: int


@dataclass(frozen=True, slots=True)
class CloseSockets:
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendDerp:
    """To a peer through its home region; `home` 0 = unknown (the pool may know a reverse route)."""

    peer: NodePublicKey
    home: RegionId
    data: bytes


@dataclass(frozen=True, slots=True)
class SetPath:
    peer: NodePublicKey
    path: PeerPath


@dataclass(frozen=True, slots=True)
class SetHome:
    region: RegionId


@dataclass(frozen=True, slots=True)
class Rebind:
    """Re-open the UDP port; `derp` also checks the DERP connections (a major link change)."""

    derp: bool


@dataclass(frozen=True, slots=True)
class ReadInterfaces:
    """The answer is `receive_interfaces`, before anything else is handled."""


@dataclass(frozen=True, slots=True)
class ResolveNames:
    """The answer is `receive_names`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeasureHttps:
    """The answer is `receive_https` for each region."""

    regions: tuple[RegionId, ...]


@dataclass(frozen=True, slots=True)
class FindCaptivePortal:
    """The answer is `receive_captive`. `hosts` are IPv4 literals of relays."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """An event for the bus."""

    event: object


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """A ping that a person asked for; exactly one of `endpoint` and `region` is set. `vni`: through a peer relay."""

    token: int
    latency_s: float
    endpoint: AddrPort | None = None
    region: RegionId | None = None
    vni: int | None = None


@dataclass(frozen=True, slots=True)
class RelayAsked:
    """A peer wants this node to relay between these two disco keys; `relay_offered` answers, if it may."""

    peer: NodePublicKey
    clients: tuple[DiscoPublicKey, DiscoPublicKey]
    generation: int


Action = (
    SendDatagram
    | OpenSockets
    | CloseSockets
    | SendDerp
    | SetPath
    | SetHome
    | Rebind
    | ReadInterfaces
    | ResolveNames
    | MeasureHttps
    | FindCaptivePortal
    | Publish
    | PingAnswered
    | RelayAsked
)


class Outbox:
    """Queue of actions. Its counters are the machine's: drops and limits by name."""

    def __init__(self, keys: DiscoKeys, randomness: Randomness) -> None:
        self.keys = keys
        self.randomness = randomness
        self.counters: Counter[str] = Counter()
        self._actions: deque[Action] = deque()

    def emit(self, action: Action) -> None:
        self._actions.append(action)

    def disco(
        self, to: AddrPort, peer: DiscoPublicKey, message: Message, socket: int = 0, *, whole: bool = False
    ) -> None:
        """Seal and send by UDP. A peer whose disco key is of low order gets nothing."""
        data = self._seal(peer, message)
        if data is not None:
            self.emit(SendDatagram(to, data, socket, whole))

    def disco_via(
        self, to: AddrPort, vni: int, peer: DiscoPublicKey, message: Message, *, control: bool = False
    ) -> None:
        """Seal and send by UDP in Geneve; `control`: to the relay itself, else through it (1.4)."""
        data = self._seal(peer, message)
        if data is not None:
            self.emit(SendDatagram(to, encode_header(GeneveHeader(PROTOCOL_DISCO, vni, control)) + data))

    def disco_by_derp(self, node: NodePublicKey, home: RegionId, peer: DiscoPublicKey, message: Message) -> None:
        data = self._seal(peer, message)
        if data is not None:
            self.emit(SendDerp(node, home, data))

    def disco_to_node(self, node: Node, message: Message) -> None:
        """By its home region; nothing to a node without a disco key."""
        if node.disco_key is not None:
            self.disco_by_derp(node.key, node.home_derp, node.disco_key, message)

    def _seal(self, peer: DiscoPublicKey, message: Message) -> bytes | None:
        try:
            return self.keys.seal(peer, message, self.randomness.bytes(NONCE_SIZE))
        except DecodeError as error:
            self.counters[f"disco_seal_{error.reason}"] += 1
            return None

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def next_action(self) -> Action | None:
        return self._actions.popleft() if self._actions else None
