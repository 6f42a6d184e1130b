from appliance.proto.peer_relay import BIND_LIFETIME_S, STEADY_LIFETIME_S, Session
from appliance.proto.peer_relay.session import HANDSHAKE_BURST
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey

A, B = DiscoPublicKey(b"a" * 32), DiscoPublicKey(b"b" * 32)


def test_ok__legs_are_sorted_and_found_by_key():
    session = Session(1, 1, "n1", (B, A), 0.0)
    assert session.clients == (A, B)
    leg, other = session.leg_of(B)
    assert (leg.key, other.key) == (B, A)
    assert session.leg_of(DiscoPublicKey(b"c" * 32)) is None


def test_ok__over_when_not_bound_in_time_or_when_one_side_is_silent():
    session = Session(1, 1, "n1", (A, B), 100.0)
    assert not session.is_over(100 + BIND_LIFETIME_S)
    assert session.is_over(100 + BIND_LIFETIME_S + 1)
    for number, leg in enumerate(session.legs):
        leg.bound, leg.last_seen = AddrPort("192.0.2.1", number), 100.0
    assert not session.is_over(100 + STEADY_LIFETIME_S)
    session.toward(AddrPort("192.0.2.1", 0), 350.0)
    assert session.is_over(101 + STEADY_LIFETIME_S)


def test_ok__handshakes_are_limited_and_come_back():
    session = Session(1, 1, "n1", (A, B), 0.0)
    assert sum(session.may_shake_hands(0.0) for _ in range(100)) == HANDSHAKE_BURST
    assert session.may_shake_hands(1.0)
