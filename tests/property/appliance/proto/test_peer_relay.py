"""Whatever clients do: nothing goes on before both sides are bound, no answer is larger than its trigger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import BindRelayEndpoint, BindRelayEndpointAnswer, DiscoKeys
from appliance.proto.geneve import HEADER_SIZE, PROTOCOL_DISCO, GeneveHeader, encode_header
from appliance.proto.peer_relay import Limits, RelayServer, Session
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPrivateKey

CLIENTS = [DiscoKeys(DiscoPrivateKey(clamp(bytes([number]) * 32))) for number in (1, 2, 3)]
PAIRS = [(0, 1), (0, 2), (1, 2)]
ADDRESSES = [AddrPort("192.0.2.1", port) for port in range(1, 5)]

steps = st.one_of(
    st.tuples(st.just("allocate"), st.sampled_from(PAIRS), st.sampled_from(["n1", "n2"])),
    st.tuples(st.just("bind"), st.sampled_from(PAIRS), st.booleans(), st.sampled_from(ADDRESSES), st.integers(0, 3)),
    st.tuples(st.just("answer"), st.sampled_from(PAIRS), st.booleans(), st.sampled_from(ADDRESSES), st.integers(0, 3)),
    st.tuples(st.just("packet"), st.integers(0, 5), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("raw"), st.integers(0, 5), st.binary(max_size=200)),
    st.tuples(st.just("time"), st.floats(0, 200)),
    st.tuples(st.just("withdraw"), st.sampled_from(["n1", "n2"])),
)


class Model:
    """Beside the server: which address each side of a pair has proven, told by what the server was answered."""

    def __init__(self) -> None:
        self.now = 100.0
        self.server = RelayServer(SeededRandomness("p"), Limits(sessions=2, sessions_per_owner=2))
        self.sessions: dict[tuple[int, int], Session] = {}
        self.challenges: dict[tuple[int, int, AddrPort], tuple[bytes, int]] = {}

    def live(self, pair: tuple[int, int]) -> Session | None:
        session = self.sessions.get(pair)
        return session if session is not None and self.server.session(session.vni) is session else None

    def allocate(self, pair: tuple[int, int], owner: str) -> None:
        keys = CLIENTS[pair[0]].public, CLIENTS[pair[1]].public
        found = self.server.allocate(owner, keys, self.now)
        if isinstance(found, Session):
            self.sessions[pair] = found
        assert len(self.server) <= 2

    def handshake(self, kind: type, pair: tuple[int, int], first: bool, source: AddrPort, generation: int) -> None:
        session = self.live(pair)
        if session is None:
            return
        me, other = (pair[0], pair[1]) if first else (pair[1], pair[0])
        challenge, _ = self.challenges.get((session.vni, me, source), (bytes(32), 0))
        message = kind(session.vni, generation, CLIENTS[other].public, challenge)
        head = encode_header(GeneveHeader(PROTOCOL_DISCO, session.vni, control=True))
        packet = head + CLIENTS[me].seal(self.server.public_key, message, bytes(24))
        before = [leg.bound for leg in session.legs]
        reply = self.server.receive_handshake(session.vni, packet, source, self.now)
        assert reply is None or len(reply) <= len(packet)
        if reply is not None:
            made = CLIENTS[me].open(reply[HEADER_SIZE:])[1]
            self.challenges[session.vni, me, source] = (made.challenge, generation)  # type: ignore[union-attr]  # a challenge
        if [leg.bound for leg in session.legs] != before:
            proven = self.challenges.get((session.vni, me, source))
            assert proven is not None, "bound an address that was never challenged"
            assert proven[1] == generation
            assert generation

    def packet(self, vni: int, source: AddrPort) -> None:
        session = self.server.session(vni)
        to = session.toward(source, self.now) if session is not None else None
        if to is not None:
            assert session is not None
            bound = [leg.bound for leg in session.legs]
            assert None not in bound
            assert {source, to} <= set(bound)


@given(st.lists(steps, max_size=60))
def test_ok__the_relay_keeps_its_promises(plan: list[tuple]) -> None:  # type: ignore[type-arg]  # of several shapes
    model = Model()
    for step in plan:
        match step:
            case ("allocate", pair, owner):
                model.allocate(pair, owner)
            case ("bind", pair, first, source, generation):
                model.handshake(BindRelayEndpoint, pair, first, source, generation)
            case ("answer", pair, first, source, generation):
                model.handshake(BindRelayEndpointAnswer, pair, first, source, generation)
            case ("packet", vni, source):
                model.packet(vni, source)
            case ("raw", vni, data):
                reply = model.server.receive_handshake(vni, data, ADDRESSES[0], model.now)
                assert reply is None
            case ("time", seconds):
                model.now += seconds
                model.server.handle_timer(model.now)
            case ("withdraw", owner):
                model.server.close_owned(owner)
                assert owner not in model.server.owners()
        bound = [leg.bound for session in model.server for leg in session.legs if leg.bound is not None]
        assert all(model.server.is_bound(address) == (address in bound) for address in ADDRESSES)
