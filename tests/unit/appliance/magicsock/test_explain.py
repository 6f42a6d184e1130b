import pytest

from appliance.magicsock.explain import candidate_words, path_words
from appliance.magicsock.scoring import ProvenPath
from appliance.types.addresses import AddrPort
from appliance.types.events import PathKind

BEST = ProvenPath(AddrPort("192.0.2.1", 1), 0.020)


def other(latency_s, ip="192.0.2.2", loss=0.0, vni=None):
    return ProvenPath(AddrPort(ip, 1), latency_s, loss=loss, vni=vni)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (BEST, "in use"),
        (other(0.030), "10.0 ms slower"),
        (other(0.019), "1.0 ms faster, too little to move"),
        (other(0.020), "as good, nothing gained by a move"),
        (other(0.019, loss=0.1), "loses 10% of pings"),
        (other(0.001, vni=7), "a relay, and a direct address answers"),
    ],
)
def test_ok__each_address_has_its_reason(path, words):
    assert candidate_words(path, BEST, 1.0, 1.0) == words


def test_ok__nearer_address_is_kept():
    lan = ProvenPath(AddrPort("192.168.1.2", 1), 0.020)
    assert candidate_words(other(0.0199), lan, 1.0, 1.0) == "the one in use is nearer by its kind (LAN, IPv6)"


def test_ok__addresses_that_do_not_answer():
    assert candidate_words(None, BEST, None, None) == "not tried yet"
    assert candidate_words(None, BEST, None, 3.0) == "no answer"
    assert candidate_words(other(0.02), BEST, 60.0, 1.0) == "answered before, not to the last ping"
    assert candidate_words(other(0.02), None, 60.0, 1.0) == "answered, but not lately enough to be trusted"


@pytest.mark.parametrize(
    ("kind", "answering", "known", "relay", "words"),
    [
        (PathKind.DIRECT, 1, 1, "DERP", "its address answers"),
        (PathKind.DIRECT, 1, 3, "DERP", "the only one of 3 known addresses that answers"),
        (PathKind.DIRECT, 2, 3, "DERP", "the best of 2 addresses that answer"),
        (PathKind.PEER_RELAY, 0, 3, "DERP", "no direct address answers; a peer relay does"),
        (PathKind.DERP, 0, 0, "DERP", "the peer has told no address yet"),
        (PathKind.DERP, 0, 3, "DERP", "none of 3 known addresses answers"),
        (PathKind.DERP, 1, 3, "DERP", "an address answered, but not lately; it is being tried again"),
        (PathKind.NONE, 0, 3, "DERP", "idle; the next packet goes by DERP at once"),
        (PathKind.NONE, 0, 3, "", "idle, and no relay is known for the peer"),
    ],
)
def test_ok__path_has_its_reason(kind, answering, known, relay, words):
    assert path_words(kind, answering=answering, known=known, relay=relay) == words
