import pytest

from appliance.magicsock.scoring import ProvenPath, address_points, better, latency_points, worth_a_move
from appliance.types.addresses import AddrPort


def path(ip="192.0.2.1", ms=10.0, **changes):
    return ProvenPath(AddrPort(ip, 1000), ms / 1000, **changes)


@pytest.mark.parametrize(
    ("ip", "points"),
    [("192.0.2.1", 0), ("192.168.3.4", 20), ("10.1.1.1", 20), ("172.20.0.1", 20), ("127.0.0.1", 50),
     ("169.254.1.1", 30), ("2001:db8::1", 10), ("fd00::1", 30), ("fe80::1", 40), ("::1", 60), ("100.64.0.1", 0)],
)  # fmt: skip
def test_ok__points_of_addresses(ip, points):
    assert address_points(ip) == points


@pytest.mark.parametrize(
    ("a", "b", "points"), [(20, 10, (0, 50)), (10, 20, (50, 0)), (10, 10, (0, 0)), (5, 0, (0, 100))]
)
def test_ok__points_of_latency(a, b, points):
    assert latency_points(a, b) == points


def test_ok__example_of_the_spec():
    assert better(path("192.168.1.1", 1.0), path("2001:db8::1", 1.1))


def test_ok__anything_beats_nothing():
    assert better(path(), None)
    assert not better(None, path())


def test_ok__direct_beats_a_faster_relay():
    assert better(path(ms=200), path("192.0.2.9", ms=1, vni=5))
    assert not better(path("192.0.2.9", ms=1, vni=5), path(ms=200))


def test_ok__same_address_only_with_a_larger_mtu():
    assert better(path(wire_mtu=1500), path())
    assert not better(path(ms=1), path(ms=100))


def test_fail__a_hundredth_faster_is_not_better():
    assert not better(path("192.0.2.2", 9.95), path(ms=10))
    assert better(path("192.0.2.2", 9.7), path(ms=10))


def test_ok__move_needs_a_tenth_between_like_addresses():
    assert not worth_a_move(path("192.0.2.2", 9.5), path(ms=10))
    assert worth_a_move(path("192.0.2.2", 8.5), path(ms=10))
    assert worth_a_move(path("192.168.1.1", 9.9), path(ms=10))
    assert worth_a_move(path(), None)
    assert not worth_a_move(path(ms=20), path("192.0.2.2", 10))


def test_ok__loss_counts_as_latency():
    lossy = ProvenPath(AddrPort("192.0.2.1", 1), 0.020, loss=0.1)
    clean = ProvenPath(AddrPort("192.0.2.2", 1), 0.026)
    assert worth_a_move(clean, lossy)
    assert not worth_a_move(lossy, clean)
    assert not worth_a_move(ProvenPath(AddrPort("192.0.2.2", 1), 0.050), lossy), "a small gain is no reason"
