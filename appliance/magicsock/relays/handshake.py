"""One handshake with a relay for one peer: bind, answer the challenge, then ping the peer through it (spec 5.3, 5.5).

bind-sent --challenge--> answer-sent --pong--> done; each step is repeated until the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from appliance.magicsock.context import PathContext
from appliance.magicsock.relays.timing import HANDSHAKE_LIMIT, HANDSHAKE_RETRIES, MAX_ADDRESSES, MAX_PINGS
from appliance.proto.disco import (
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    Ping,
    RelayEndpoint,
)
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey, NodePublicKey

TX_ID_SIZE = 12


class Step(Enum):
    BIND_SENT = "bind-sent"
    ANSWER_SENT = "answer-sent"


@dataclass(slots=True)
class Handshake:
    """`peer` is reached by `remote`, its disco key. `address` is where the relay's first challenge came from."""

    peer: NodePublicKey
    remote: DiscoPublicKey
    endpoint: RelayEndpoint
    generation: int
    started_at: float
    step: Step = Step.BIND_SENT
    address: AddrPort | None = None
    challenge: bytes = b""
    pings: dict[bytes, float] = field(default_factory=dict)
    tries: int = 0
    next_at: float = 0.0

    @property
    def deadline(self) -> float:
        return self.started_at + min(self.endpoint.bind_lifetime_ns / 1e9, HANDSHAKE_LIMIT)

    def addresses(self, context: PathContext) -> tuple[AddrPort, ...]:
        """Of the relay, those that may be used at all."""
        usable = [address for address in self.endpoint.addresses if context.acceptable(address)]
        return tuple(dict.fromkeys(usable))[:MAX_ADDRESSES]

    def send(self, context: PathContext, now: float) -> None:
        """What this step says, and when it is said again."""
        if self.address is None:
            message = BindRelayEndpoint(self.endpoint.vni, self.generation, self.remote)
            for address in self.addresses(context):
                self._to_relay(context, address, message)
        else:
            answer = BindRelayEndpointAnswer(self.endpoint.vni, self.generation, self.remote, self.challenge)
            self._to_relay(context, self.address, answer)
            self.ping(context, now)
        self.next_at = min(now + HANDSHAKE_RETRIES[min(self.tries, len(HANDSHAKE_RETRIES) - 1)], self.deadline)
        self.tries += 1

    def _to_relay(
        self, context: PathContext, to: AddrPort, message: BindRelayEndpoint | BindRelayEndpointAnswer
    ) -> None:
        context.outbox.disco_via(to, self.endpoint.vni, self.endpoint.server, message, control=True)

    def receive_challenge(
        self, message: BindRelayEndpointChallenge, source: AddrPort, context: PathContext, now: float
    ) -> bool:
        """The first good one is answered; whether this was it."""
        expected = (self.endpoint.vni, self.generation, self.remote)
        if self.step is not Step.BIND_SENT or (message.vni, message.generation, message.remote) != expected:
            return False
        if source not in self.addresses(context):
            return False
        self.step, self.address, self.challenge, self.tries = Step.ANSWER_SENT, source, message.challenge, 0
        self.send(context, now)
        return True

    def ping(self, context: PathContext, now: float) -> None:
        """Through the relay to the peer, which answers once it is bound too."""
        if self.address is None or context.node_key is None or len(self.pings) >= MAX_PINGS:
            return
        tx_id = context.outbox.randomness.bytes(TX_ID_SIZE)
        self.pings[tx_id] = now
        context.outbox.disco_via(self.address, self.endpoint.vni, self.remote, Ping(tx_id, context.node_key))
