import pytest

from appliance.magicsock.path_mtu import ROUND_INTERVAL, SIZES, TRIES, TRY_INTERVAL, PathMtu, padding_of
from appliance.proto.disco import Ping
from appliance.types.addresses import AddrPort

V4, V6 = AddrPort("192.0.2.2", 41641), AddrPort("2001:db8::2", 41641)


def play(mtu, now, passing):
    """Answer sizes up to `passing` until the round is over; the time after it."""
    for _ in range(TRIES + 1):
        for size in mtu.due(now):
            if size <= passing:
                mtu.answered(size)
        now += TRY_INTERVAL
    return now


@pytest.mark.parametrize("to", [V4, V6])
def test_ok__padded_ping_is_a_packet_of_that_size(rig, to):
    for size in SIZES:
        sealed = rig.from_peer(Ping(bytes(12), rig.context.node_key, padding_of(size, to)))
        assert len(sealed) + 8 + (40 if to.is_v6 else 20) == size


@pytest.mark.parametrize("passing", [1500, 9000, 1279])
def test_ok__largest_size_that_passes_is_known(passing):
    mtu = PathMtu()
    play(mtu, 0.0, passing)
    assert mtu.known == max((size for size in SIZES if size <= passing), default=0)


def test_ok__only_larger_sizes_are_asked_again():
    mtu = PathMtu()
    assert mtu.due(0.0) == SIZES
    mtu.answered(1400)
    assert mtu.due(1.0) == ()
    assert mtu.due(TRY_INTERVAL) == (1500, 8000, 9000)


def test_ok__one_lost_ping_changes_nothing():
    mtu = PathMtu()
    mtu.due(0.0)
    mtu.answered(1400)
    mtu.due(TRY_INTERVAL)
    mtu.answered(1500)
    play(mtu, 2 * TRY_INTERVAL, 1500)
    assert mtu.known == 1500


def test_ok__path_that_shrank_is_found_out_at_the_next_round():
    mtu = PathMtu()
    now = play(mtu, 0.0, 1500)
    assert mtu.due(now) == ()
    assert mtu.known == 1500
    play(mtu, now + ROUND_INTERVAL, 1400)
    assert mtu.known == 1400


def test_ok__another_network_is_measured_anew():
    mtu = PathMtu()
    play(mtu, 0.0, 1500)
    mtu.clear()
    assert mtu.known is None
    assert mtu.due(10.0) == SIZES
