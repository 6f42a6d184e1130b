import hashlib

from appliance.proto.peer_relay import ChallengeMaker
from appliance.proto.peer_relay.challenge import SECRET_LIFETIME_S
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey

REMOTE = DiscoPublicKey(b"r" * 32)
SOURCE = AddrPort("2001:db8::1", 5)


def test_ok__the_specified_layout():
    maker = ChallengeMaker(lambda size: b"s" * size)
    text = (5).to_bytes(4, "big") + (6).to_bytes(4, "big") + REMOTE.raw + b"[2001:db8::1]:5"
    assert maker.make(5, 6, REMOTE, SOURCE, 0.0) == hashlib.blake2s(text, key=b"s" * 32).digest()


def test_ok__the_secret_before_is_accepted_and_no_older_one():
    count = iter(range(9))
    maker = ChallengeMaker(lambda size: bytes([next(count)]) * size)
    first = maker.make(1, 1, REMOTE, SOURCE, 0.0)
    assert maker.verify(first, 1, 1, REMOTE, SOURCE, SECRET_LIFETIME_S + 1)
    assert not maker.verify(first, 1, 1, REMOTE, SOURCE, 2 * SECRET_LIFETIME_S + 2)


def test_ok__a_secret_that_slept_too_long_is_gone():
    count = iter(range(9))
    maker = ChallengeMaker(lambda size: bytes([next(count)]) * size)
    first = maker.make(1, 1, REMOTE, SOURCE, 0.0)
    assert not maker.verify(first, 1, 1, REMOTE, SOURCE, 3 * SECRET_LIFETIME_S)


def test_fail__any_field_that_differs():
    maker = ChallengeMaker(lambda size: b"s" * size)
    good = maker.make(1, 2, REMOTE, SOURCE, 0.0)
    assert maker.verify(good, 1, 2, REMOTE, SOURCE, 0.0)
    for wrong in (
        (2, 2, REMOTE, SOURCE),
        (1, 3, REMOTE, SOURCE),
        (1, 2, DiscoPublicKey(b"x" * 32), SOURCE),
        (1, 2, REMOTE, AddrPort(SOURCE.ip, 6)),
    ):
        assert not maker.verify(good, *wrong, 0.0)
