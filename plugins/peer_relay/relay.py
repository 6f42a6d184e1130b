"""The relay as the hooks and the service share it: settings, sessions, addresses. One event loop, no IO of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.api import RelayOffer, RelayRequest
from appliance.proto.peer_relay import BIND_LIFETIME_S, STEADY_LIFETIME_S, Limits, Refusal, RelayServer, Session
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.config import PeerRelayConfig
from plugins.peer_relay.forwarding import Forwarder
from plugins.peer_relay.kernel import KernelPath


class SystemBytes:
    """The kernel's generator."""

    def bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


@dataclass(slots=True)
class Relay:
    """`ports` are where it listens, empty while it does not; `forbidden`: control switched relays off here."""

    config: PeerRelayConfig = field(default_factory=PeerRelayConfig)
    server: RelayServer = field(default_factory=lambda: RelayServer(SystemBytes()))
    clock: Callable[[], float] = time.monotonic
    ports: tuple[AddrPort, ...] = ()
    addresses: tuple[AddrPort, ...] = ()
    forbidden: bool = False
    stun_answers: list[tuple[AddrPort, bytes]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Of nodes, by stable id."""
    kernel: KernelPath = field(default_factory=KernelPath)
    forwarder: Forwarder = field(init=False)

    def __post_init__(self) -> None:
        self.forwarder = Forwarder(self.server, self._stun, self.kernel.forget)

    def configure(self, config: PeerRelayConfig) -> None:
        self.config = config
        self.server.limits = Limits(
            config.max_sessions, config.max_sessions_per_node, config.max_mbit_per_pair * 125_000
        )

    def _stun(self, source: AddrPort, packet: bytes) -> None:
        """Kept for the service, a few at most."""
        if len(self.stun_answers) < 16:
            self.stun_answers.append((source, packet))

    def offer(self, request: RelayRequest) -> RelayOffer | None:
        """A place to meet; None while nobody could reach it, and past the limits."""
        if self.forbidden or not self.addresses:
            return None
        try:
            first, second = (DiscoPublicKey.parse(text) for text in request.clients)
        except DecodeError:
            return None
        session = self.server.allocate(request.stable_id, (first, second), self.clock())
        if isinstance(session, Refusal):
            return None
        return RelayOffer(
            server=str(self.server.public_key),
            lamport_id=session.lamport_id,
            vni=session.vni,
            bind_lifetime_s=BIND_LIFETIME_S,
            steady_lifetime_s=STEADY_LIFETIME_S,
            addresses=tuple(map(str, self.addresses)),
        )

    @property
    def open_sessions(self) -> int:
        return sum(session.is_open for session in self.server)

    @property
    def forwarded(self) -> tuple[int, int]:
        """Packets and bytes, by the kernel and by ourselves."""
        ours, kernel = self.forwarder, self.kernel
        return ours.packets.total() + kernel.packets.total(), ours.bytes.total() + kernel.bytes.total()

    def name_of(self, session: Session) -> str:
        """Of the node that asked for it."""
        return self.names.get(session.owner, session.owner)
