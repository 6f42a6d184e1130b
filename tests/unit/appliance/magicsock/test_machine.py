import errno
from dataclasses import replace
from ipaddress import IPv4Network, ip_address

import pytest

from appliance.magicsock.machine import Magicsock
from appliance.magicsock.outbox import PingAnswered, ReadInterfaces, Rebind, SendDatagram
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import PeerActivity, PeerPath
from appliance.proto.disco import CallMeMaybe, Ping, Pong
from appliance.proto.stun import encode_response, is_stun, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, RegionId
from appliance.types.netmap import NetmapDiff
from tests.effort import lines_run

THEIRS = AddrPort("192.0.2.2", 41641)
SEEN = AddrPort("198.51.100.1", 41641)
PORTS = (AddrPort("0.0.0.0", 41641),)


class Machinery:
    def __init__(self, rig, peers=1):
        self.rig = rig
        self.machine = Magicsock(rig.ours, SeededRandomness("machine"), lambda region: None)
        self.machine.set_node_key(rig.context.node_key, rig.now)
        self.stun = []
        self.machine.set_derp_map(rig.derp_map(1), rig.now)
        node = rig.node()
        nodes = {node.id: node}
        for n in range(3, 2 + peers):
            raw = n.to_bytes(32, "big")
            nodes[NodeId(n)] = replace(
                node, id=NodeId(n), key=type(node.key)(raw), disco_key=type(node.disco_key)(raw),
                addresses=(IPv4Network((0x64400000 + n, 32)),),
            )  # fmt: skip
        self.node = node
        self.machine.apply(NetmapDiff(full=True, changed=nodes), rig.now)
        self.sent = self.work()

    def work(self):
        """Carry out what the machine asks for; disco that it sent."""
        sent = []
        while (action := self.machine.next_action()) is not None:
            if isinstance(action, ReadInterfaces):
                self.machine.receive_interfaces([ip_address("192.168.1.5")], PORTS, self.rig.now)
            elif isinstance(action, SendDatagram) and is_stun(action.data):
                self.stun.append(parse_request(action.data))
            else:
                sent += self.rig.read(iter((action, None)).__next__)
        return sent

    def answer_stun(self):
        tx_id = self.stun.pop()
        self.machine.receive_datagram(AddrPort("203.0.113.1", 3478), encode_response(tx_id, SEEN), self.rig.now)
        return self.work()

    def direct(self):
        self.machine.wanted(self.node.key, self.rig.now)
        ping = next(s.message for s in self.work() if s.to == THEIRS)
        self.pong(ping.tx_id)

    def pong(self, tx_id, after=0.02):
        self.rig.now += after
        self.machine.receive_datagram(THEIRS, self.rig.from_peer(Pong(tx_id, SEEN)), self.rig.now)
        return self.work()

    def run(self, until):
        sent = []
        while (at := self.machine.next_timer()) is not None and at <= until:
            self.rig.now = max(self.rig.now, at)
            self.machine.handle_timer(self.rig.now)
            sent += self.work()
        self.rig.now = until
        return sent


@pytest.fixture
def m(rig):
    return Machinery(rig)


def test_ok__wanted_peer_goes_by_relay_then_direct(rig, m):
    m.direct()
    assert rig.paths == [PeerPath(relay=True), PeerPath(direct=THEIRS)]
    assert m.machine.status(m.node.key, rig.now).endpoint == THEIRS


def test_ok__call_me_maybe_waits_for_the_first_stun_answer(rig, m):
    m.machine.wanted(m.node.key, rig.now)
    assert not [s for s in m.work() if isinstance(s.message, CallMeMaybe)]
    (call,) = [s for s in m.answer_stun() if isinstance(s.message, CallMeMaybe)]
    assert call.message.endpoints == (SEEN, AddrPort("192.168.1.5", 41641))


def test_ok__call_me_maybe_goes_after_a_second_without_stun(rig, m):
    m.machine.wanted(m.node.key, rig.now)
    m.work()
    calls = [s for s in m.run(rig.now + 1.01) if isinstance(s.message, CallMeMaybe)]
    assert [call.message.endpoints for call in calls] == [(AddrPort("192.168.1.5", 41641),)]


def test_ok__stale_endpoints_are_measured_before_a_call_me_maybe(rig, m):
    m.answer_stun()
    m.run(rig.now + 60)
    m.machine.wanted(m.node.key, rig.now)
    assert not [s for s in m.work() if isinstance(s.message, CallMeMaybe)]
    assert [s for s in m.answer_stun() if isinstance(s.message, CallMeMaybe)]


def test_ok__fresh_endpoints_are_called_at_once(rig, m):
    m.answer_stun()
    m.machine.wanted(m.node.key, rig.now)
    assert [s for s in m.work() if isinstance(s.message, CallMeMaybe)]


def test_ok__major_link_change_rebinds_and_starts_over(rig, m):
    m.direct()
    m.machine.link_changed(True, rig.now)
    sent = m.work()
    assert Rebind(derp=True) in rig.other
    assert rig.paths[-1] == PeerPath(relay=True)
    assert [s for s in sent if s.to == THEIRS and isinstance(s.message, Ping)]
    assert m.stun, "and measures anew"


def test_ok__minor_link_change_only_measures(rig, m):
    m.direct()
    m.answer_stun()
    m.machine.link_changed(False, rig.now)
    m.work()
    assert rig.paths[-1] == PeerPath(direct=THEIRS)
    assert m.stun
    assert not [a for a in rig.other if isinstance(a, Rebind)]


def test_ok__unreachable_best_by_disco_send_is_found_by_address(rig, m):
    m.direct()
    m.machine.send_failed(None, THEIRS, errno.EHOSTUNREACH, rig.now)
    m.work()
    assert rig.paths[-1] == PeerPath(relay=True)


def test_ok__broken_socket_is_rebound_at_most_every_five_seconds(rig, m):
    for at in (0.0, 1.0, 4.9, 5.0):
        m.machine.send_failed(m.node.key, THEIRS, errno.EPERM, rig.now + at)
    m.work()
    assert rig.other.count(Rebind(derp=False)) == 2


def test_ok__lost_disco_by_eperm_is_only_counted(rig, m):
    m.machine.send_failed(None, THEIRS, errno.EPERM, rig.now)
    m.work()
    assert not [a for a in rig.other if isinstance(a, Rebind)]
    assert m.machine.counters["send_failed"] == 1


def test_ok__removed_peer_is_forgotten_with_its_timer(rig, m):
    m.direct()
    m.machine.apply(NetmapDiff(removed={m.node.id: m.node}), rig.now)
    m.work()
    assert m.machine.status(m.node.key, rig.now) is None
    assert m.machine.home_of(m.node.key) is None
    assert not m.machine.relay_traffic(RegionId(1), m.node.key, rig.now)
    m.machine.wanted(m.node.key, rig.now)
    m.run(rig.now + 20)
    assert m.machine.counters["wanted_unknown_peer"] == 1


def test_ok__person_s_ping_is_answered_once_per_answer(rig, m):
    m.direct()
    assert m.machine.ping(m.node.key, 5, rig.now)
    ping = next(s.message for s in m.work() if isinstance(s.message, Ping))
    m.pong(ping.tx_id)
    assert [a for a in rig.other if isinstance(a, PingAnswered)] == [PingAnswered(5, pytest.approx(0.02), THEIRS)]
    assert not m.machine.ping(rig.node(9).key, 6, rig.now)


def test_ok__own_overlay_address_is_no_endpoint(rig, m):
    m.machine.set_self(replace(rig.node(1), addresses=(IPv4Network("192.168.1.5/32"),)))
    m.answer_stun()
    m.machine.netcheck_wanted(rig.now)
    m.work()
    m.answer_stun()
    assert [str(e.addr_port) for e in m.machine.locator.endpoints] == ["198.51.100.1:41641"]


@pytest.mark.parametrize(
    "packet", [b"", b"\x01", b"TS\xf0\x9f\x92\xac" + bytes(40), bytes(200), b"\x01\x01\x00\x0c!\x12\xa4B"]
)
def test_fail__rubbish_is_counted(rig, m, packet):
    before = sum(m.machine.counters.values())
    m.machine.receive_datagram(SEEN, packet, rig.now)
    assert sum(m.machine.counters.values()) == before + 1
    assert m.work() == []


def test_fail__stun_answer_nobody_asked_for(rig, m):
    m.machine.receive_datagram(SEEN, encode_response(b"q" * 12, SEEN), rig.now)
    assert m.machine.counters["stun_unknown"] == 1


def test_ok__cost_of_an_event_does_not_grow_with_the_peers(rig):

    costs = []
    for peers in (10, 3000):
        m = Machinery(type(rig)(), peers)
        m.answer_stun()
        now = m.rig.now
        ping = m.rig.from_peer(Ping(b"c" * 12, m.node.key))
        busy = PeerActivity(m.node.key, tx_bytes=1, rx_bytes=1, rx_direct=True, source=THEIRS)
        moved = replace(m.node, home_derp=RegionId(1), endpoints=(SEEN,))
        diff = NetmapDiff(changed={m.node.id: moved}, previous={m.node.id: m.node})
        m.machine.wanted(m.node.key, now)
        costs.append(
            [
                lines_run(lambda m=m, now=now, ping=ping: m.machine.receive_datagram(THEIRS, ping, now)),
                lines_run(lambda m=m, now=now, busy=busy: m.machine.activity([busy], now)),
                lines_run(lambda m=m, now=now, diff=diff: m.machine.apply(diff, now)),
                lines_run(lambda m=m, now=now: m.machine.handle_timer(now + 0.7)),
            ]
        )
    assert costs[0] == costs[1]
