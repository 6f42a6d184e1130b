"""A relay server and two clients of it that speak real disco."""

from __future__ import annotations

import pytest

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import (
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    DiscoKeys,
)
from appliance.proto.geneve import HEADER_SIZE, PROTOCOL_DISCO, GeneveHeader, encode_header, parse_header
from appliance.proto.peer_relay import Limits, RelayServer, Session
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPrivateKey

NONCE = bytes(24)


class RelayClient:
    """One of the two clients; `address` is where the relay sees it."""

    def __init__(self, seed: int, address: AddrPort, server: RelayServer) -> None:
        self.keys = DiscoKeys(DiscoPrivateKey(clamp(bytes([seed]) * 32)))
        self.address = address
        self.server = server
        self.generation = seed

    def packet(self, kind: type, vni: int, remote, challenge: bytes = bytes(32), *, generation: int = 0) -> bytes:
        message = kind(vni, generation or self.generation, remote, challenge)
        header = encode_header(GeneveHeader(PROTOCOL_DISCO, vni, control=True))
        return header + self.keys.seal(self.server.public_key, message, NONCE)

    def ask(self, session: Session, other: RelayClient, now: float) -> BindRelayEndpointChallenge | None:
        """Send the first message; the challenge that came back."""
        packet = self.packet(BindRelayEndpoint, session.vni, other.keys.public)
        reply = self.server.receive_handshake(session.vni, packet, self.address, now)
        if reply is None:
            return None
        assert len(reply) <= len(packet), "an answer is no larger than its trigger"
        assert parse_header(reply) == GeneveHeader(PROTOCOL_DISCO, session.vni, control=True)
        _, message = self.keys.open(reply[HEADER_SIZE:])
        assert isinstance(message, BindRelayEndpointChallenge)
        return message

    def answer(self, session: Session, other: RelayClient, challenge: bytes, now: float) -> None:
        packet = self.packet(BindRelayEndpointAnswer, session.vni, other.keys.public, challenge)
        assert self.server.receive_handshake(session.vni, packet, self.address, now) is None

    def bind(self, session: Session, other: RelayClient, now: float) -> None:
        challenge = self.ask(session, other, now)
        assert challenge is not None
        self.answer(session, other, challenge.challenge, now)


class RelayRig:
    START = 1000.0

    def __init__(self) -> None:
        self.now = self.START
        self.server = RelayServer(SeededRandomness("relay"), Limits(sessions=4, sessions_per_owner=2))
        self.a = RelayClient(1, AddrPort("192.0.2.1", 1001), self.server)
        self.b = RelayClient(2, AddrPort("192.0.2.2", 1002), self.server)

    def allocate(self, owner: str = "n1") -> Session:
        session = self.server.allocate(owner, (self.b.keys.public, self.a.keys.public), self.now)
        assert isinstance(session, Session)
        return session

    def bound(self) -> Session:
        session = self.allocate()
        self.a.bind(session, self.b, self.now)
        self.b.bind(session, self.a, self.now)
        return session


@pytest.fixture
def relay_rig() -> RelayRig:
    return RelayRig()
