"""Batches in, batches out: nothing is lost, reordered or sent to the wrong side."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.api import Segments
from appliance.ports.packets import MemoryUdpPort, one
from appliance.proto.geneve import PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.proto.peer_relay import Limits, RelayServer
from appliance.proto.stun import encode_request, encode_response
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.forwarding import STRANGERS_RUNS, Forwarder
from plugins.peer_relay.relay import SystemBytes

NOW = 100.0
STRANGER = AddrPort("198.51.100.66", 6)


class Rig:
    """Two open sessions: 1 between a4 and b4, 2 between a4 and b6."""

    def __init__(self):
        self.server = RelayServer(SystemBytes())
        self.stun = []
        self.forwarder = Forwarder(self.server, lambda source, packet: self.stun.append((source, packet)))
        self.v4 = MemoryUdpPort(AddrPort("0.0.0.0", 41642))
        self.v6 = MemoryUdpPort(AddrPort("::", 41642))
        self.forwarder.use((self.v4, self.v6))
        self.a, self.b = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2)
        self.b6 = AddrPort("2001:db8::2", 3)
        for number, far in ((1, self.b), (2, self.b6)):
            keys = DiscoPublicKey(b"a" * 32), DiscoPublicKey(bytes([number]) * 32)
            session = self.server.allocate("n", keys, NOW)
            for leg, address in zip(session.legs, (far, self.a), strict=True):
                leg.bound, leg.last_seen = address, NOW
                self.server._bound[address] += 1

    def receive(self, *batches, port=None):
        port = port or self.v4
        for source, batch in batches:
            port.deliver(source, batch)
        self.forwarder.readable(port, NOW)

    def sent(self, port=None):
        """Packets in the order of sending, each with its destination."""
        port = port or self.v4
        found = [(to, bytes(packet)) for to, batch in port.sent for packet in batch]
        port.sent.clear()
        return found


def relayed(vni, payload):
    return encode_header(GeneveHeader(PROTOCOL_WIREGUARD, vni)) + payload


@pytest.fixture
def rig():
    return Rig()


def test_ok__both_ways_and_between_ip_versions(rig):
    rig.receive((rig.a, one(relayed(1, b"there"))), (rig.b, one(relayed(1, b"back"))), (rig.a, one(relayed(2, b"six"))))
    assert rig.sent() == [(rig.b, relayed(1, b"there")), (rig.a, relayed(1, b"back"))]
    assert rig.sent(rig.v6) == [(rig.b6, relayed(2, b"six"))]
    assert rig.forwarder.packets == {("udp4", "udp4"): 2, ("udp4", "udp6"): 1}


def test_ok__neighbours_for_one_destination_leave_together(rig):
    packets = [relayed(1, bytes([n]) * 100) for n in range(5)]
    rig.receive(*((rig.a, one(packet)) for packet in packets), (rig.a, one(relayed(1, b"short"))))
    assert len(rig.v4.sent) == 1
    assert rig.sent() == [(rig.b, packet) for packet in (*packets, relayed(1, b"short"))]


def test_ok__a_batch_of_two_sessions_is_cut_at_the_border(rig):
    packets = [relayed(1, b"x" * 50), relayed(1, b"y" * 50), relayed(2, b"z" * 50)]
    rig.receive((rig.a, Segments(b"".join(packets), 58)))
    assert rig.sent() == [(rig.b, packets[0]), (rig.b, packets[1])]
    assert rig.sent(rig.v6) == [(rig.b6, packets[2])]


def test_fail__nothing_for_strangers_unknown_numbers_and_half_bound_sessions(rig):
    session = rig.server.allocate("n", (DiscoPublicKey(b"y" * 32), DiscoPublicKey(b"z" * 32)), NOW)
    session.legs[0].bound = rig.a
    rig.receive(
        (STRANGER, one(relayed(1, b"x"))),
        (rig.a, one(relayed(9, b"x"))),
        (rig.a, one(relayed(session.vni, b"x"))),
        (rig.b, one(relayed(2, b"x"))),
    )
    assert rig.sent() == rig.sent(rig.v6) == []
    assert rig.forwarder.counters == {"unbound": 3, "unknown_vni": 1}


def test_fail__what_is_not_ours_is_counted_and_stun_answers_are_not(rig):
    answer = encode_response(b"t" * 12, rig.a)
    rig.receive((STRANGER, one(answer)), (STRANGER, one(b"\0" * 40)), (STRANGER, one(b"x")), (STRANGER, one(b"\0\x40")))
    assert rig.stun == [(STRANGER, answer)]
    assert rig.forwarder.counters == {"not_ours": 3}
    assert rig.sent() == []
    rig.receive((STRANGER, one(encode_request(b"t" * 12))))
    assert rig.sent() == [], "the relay is no STUN server"


def test_fail__a_flood_of_a_stranger_is_looked_at_in_part_only(rig):
    rig.receive((STRANGER, Segments(b"".join(relayed(n, b"") for n in range(100, 200)), 8)))
    assert rig.forwarder.counters == {"unknown_vni": STRANGERS_RUNS}


def test_fail__a_pair_above_its_rate_loses_the_rest_and_the_other_pair_nothing(rig):
    rig.server.limits = Limits(bytes_per_s=1_000_000)
    burst = Segments(relayed(1, b"x" * 1192) * 40, 1200)
    rig.receive(*((rig.a, burst) for _ in range(10)), (rig.a, one(relayed(2, b"y"))))
    assert len(rig.sent()) == 200, "a quarter of a second's worth, whole buffers"
    assert len(rig.sent(rig.v6)) == 1
    assert rig.forwarder.counters == {"over_rate": 200}


def test_fail__a_socket_that_refuses_is_counted(rig):
    rig.v4.close()
    rig.receive((rig.a, one(relayed(1, b"x"))))
    assert rig.forwarder.counters == {"send_failed": 1}


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine makes the lists slowly
@given(st.lists(st.tuples(st.sampled_from([1, 2, 7]), st.integers(0, 60), st.integers(1, 6)), max_size=30))
def test_ok__any_mix_arrives_whole_and_in_order(plan):
    rig = Rig()
    batches, expected = [], {1: [], 2: [], 7: []}
    for number, (vni, size, count) in enumerate(plan):
        packets = [relayed(vni, bytes([number % 256]) * size) for _ in range(count)]
        batches.append((rig.a, Segments(b"".join(packets), size + 8)))
        expected[vni] += packets
    rig.receive(*batches)
    assert [packet for to, packet in rig.sent() if to == rig.b] == expected[1]
    assert [packet for to, packet in rig.sent(rig.v6) if to == rig.b6] == expected[2]
    for port in (rig.v4, rig.v6):
        assert all(len(batch.buffer) <= 65000 for _, batch in port.sent)


@given(st.binary(max_size=400), st.integers(1, 200))
def test_fail__hostile_bytes_go_nowhere(data, size):
    rig = Rig()
    rig.receive((STRANGER, Segments(data, size)))
    assert rig.sent() == rig.sent(rig.v6) == []
