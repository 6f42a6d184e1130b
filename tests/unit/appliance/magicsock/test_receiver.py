import pytest

from appliance.magicsock.peers import PeerTable
from appliance.magicsock.receiver import DiscoReceiver
from appliance.magicsock.relays.manager import RelayManager
from appliance.proto.disco import CallMeMaybe, DiscoKeys, Ping, Pong
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPrivateKey
from appliance.types.netmap import NetmapDiff

SOURCE = AddrPort("198.51.100.7", 7000)
REGION = RegionId(1)


class Receiving:
    def __init__(self, rig):
        self.rig = rig
        self.node = rig.node()
        self.table = PeerTable(rig.context)
        self.table.apply(NetmapDiff(changed={self.node.id: self.node}), rig.now)
        self.receiver = DiscoReceiver(rig.context, self.table, RelayManager(rig.context, self.table))
        self.peer = self.table.get(self.node.key)

    def udp(self, message, source=SOURCE):
        return self.receiver.receive(self.rig.from_peer(message), source, self.rig.now)

    def derp(self, message, node=None):
        return self.receiver.receive_by_derp(self.rig.from_peer(message), REGION, node or self.node.key, self.rig.now)

    @property
    def counters(self):
        return dict(self.rig.outbox.counters)


@pytest.fixture
def receiving(rig):
    return Receiving(rig)


def test_ok__ping_is_answered_where_it_came_from_and_becomes_a_candidate(rig, receiving):
    assert receiving.udp(Ping(b"x" * 12, receiving.node.key)) == (receiving.peer,)
    assert [(s.to, s.message) for s in rig.take()] == [(SOURCE, Pong(b"x" * 12, SOURCE))]
    assert SOURCE in receiving.peer.candidates


def test_ok__ping_by_derp_is_answered_by_derp_with_the_region_as_source(rig, receiving):
    receiving.derp(Ping(b"x" * 12, receiving.node.key))
    assert [(s.to, s.message) for s in rig.take()] == [(None, Pong(b"x" * 12, AddrPort("127.3.3.40", 1)))]


def test_ok__call_me_maybe_by_derp_starts_pings(rig, receiving):
    receiving.derp(CallMeMaybe((SOURCE,)))
    assert SOURCE in {s.to for s in rig.take()}


def test_fail__call_me_maybe_by_udp_is_dropped(rig, receiving):
    receiving.udp(CallMeMaybe((SOURCE,)))
    assert rig.take() == []
    assert receiving.counters == {"disco_not_by_udp": 1}


def test_fail__replayed_ping_gives_nothing_away_and_moves_nothing(rig, receiving):
    packet = rig.from_peer(Ping(b"x" * 12, receiving.node.key))
    receiving.receiver.receive(packet, SOURCE, rig.now)
    rig.take()
    elsewhere = AddrPort("198.51.100.66", 6)
    receiving.receiver.receive(packet, elsewhere, rig.now)
    assert rig.take() == []
    assert elsewhere not in receiving.peer.candidates
    assert receiving.counters == {"disco_ping_again": 1}


def test_fail__our_own_ping_reflected_is_from_a_stranger(rig, receiving):
    reflected = rig.ours.seal(rig.theirs.public, Ping(b"x" * 12, rig.context.node_key), bytes(24))
    assert receiving.receiver.receive(reflected, SOURCE, rig.now) == ()
    assert receiving.counters == {"disco_unknown_sender": 1}


def test_fail__stranger_costs_a_look_up(rig, receiving):
    stranger = DiscoKeys(DiscoPrivateKey(b"\x40" * 32))
    receiving.receiver.receive(stranger.seal(rig.ours.public, Ping(b"x" * 12), bytes(24)), SOURCE, rig.now)
    assert rig.take() == []
    assert len(rig.ours) == 0, "no shared key was computed"
    assert receiving.counters == {"disco_unknown_sender": 1}


def test_fail__forged_box_of_a_peer(rig, receiving):
    packet = bytearray(rig.from_peer(Ping(b"x" * 12, receiving.node.key)))
    packet[-1] ^= 1
    receiving.receiver.receive(bytes(packet), SOURCE, rig.now)
    assert rig.take() == []
    assert receiving.counters == {"disco_bad_ciphertext": 1}


def test_fail__disco_by_derp_from_another_node(rig, receiving):
    receiving.derp(Ping(b"x" * 12), node=rig.node(9).key)
    assert rig.take() == []
    assert receiving.counters == {"disco_wrong_node": 1}


def test_fail__flood_of_pings_is_answered_within_the_limit(rig, receiving):
    for n in range(1000):
        receiving.udp(Ping(n.to_bytes(12, "big"), receiving.node.key))
    assert len(rig.take()) == 400
    assert receiving.counters["disco_ping_flood"] == 600


def test_fail__flood_of_call_me_maybe(rig, receiving):
    for _ in range(10):
        receiving.derp(CallMeMaybe((SOURCE,)))
    assert receiving.counters["disco_call_me_maybe_flood"] == 7


def test_fail__logged_out_is_silent(rig, receiving):
    rig.context.node_key = None
    receiving.udp(Ping(b"x" * 12))
    assert rig.take() == []
    assert receiving.counters == {"disco_logged_out": 1}


def test_fail__pong_to_nothing(receiving):
    assert receiving.udp(Pong(b"y" * 12, SOURCE)) == ()
    receiving.derp(Pong(b"y" * 12, SOURCE))
    assert receiving.counters == {"disco_pong_unknown": 2}


def test_fail__source_inside_the_overlay_gets_no_pong(rig, receiving):
    receiving.udp(Ping(b"x" * 12), source=AddrPort("100.64.0.2", 41641))
    assert rig.take() == []
    assert receiving.counters == {"disco_bad_source": 1}
