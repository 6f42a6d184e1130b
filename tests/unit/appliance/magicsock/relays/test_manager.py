"""The relay manager message by message. Whole nodes with a real relay are in tests/sim/test_peer_relay.py."""

from dataclasses import replace

import pytest

from appliance.magicsock.outbox import RelayAsked, SendDatagram, SendDerp
from appliance.magicsock.peers import PeerTable
from appliance.magicsock.relays.manager import RelayManager
from appliance.magicsock.relays.timing import (
    ALLOCATION_LIMIT,
    ALLOCATION_RETRY,
    DISCOVERY_INTERVAL,
    HANDSHAKE_LIMIT,
    HANDSHAKE_RETRIES,
    MAX_HANDSHAKES,
    MAX_PINGS,
    UPGRADE_INTERVAL,
)
from appliance.ports.underlay import PeerPath
from appliance.proto.disco import (
    AllocateRelayEndpointRequest,
    AllocateRelayEndpointResponse,
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    CallMeMaybe,
    CallMeMaybeVia,
    Ping,
    Pong,
    RelayEndpoint,
)
from appliance.proto.geneve import HEADER_SIZE, PROTOCOL_DISCO, GeneveHeader, encode_header, parse_header
from appliance.types.addresses import AddrPort
from appliance.types.netmap import NetmapDiff
from tests.unit.appliance.magicsock.conftest import disco_keys

RELAY = AddrPort("203.0.113.7", 41642)
OTHER = AddrPort("203.0.113.8", 41642)
VNI = 5
SECRET = b"c" * 32


class Managed:
    """We (disco key 1) want peer 2, who sends to us; node 3 is a relay whose server has disco key 4."""

    def __init__(self, rig):
        self.rig, self.outbox = rig, rig.outbox
        self.node = rig.node(2, capability_version=130)
        self.server = rig.node(3, capability_version=130)
        self.keys = {n: disco_keys(n) for n in (2, 3, 4)}
        self.table = PeerTable(rig.context)
        self.table.apply(NetmapDiff(changed={n.id: n for n in (self.node, self.server)}), rig.now)
        self.manager = RelayManager(rig.context, self.table)
        self.manager.servers = frozenset({self.server.key})
        self.peer = self.table.get(self.node.key)
        self.peer.wanted(rig.now)
        self.sent()

    def sent(self):
        """(where, Geneve header or None, message) of each message of ours, whoever can open it."""
        found = []
        while (action := self.outbox.next_action()) is not None:
            if isinstance(action, SendDerp):
                found.append((action.peer, None, self._open(action.data)))
            elif isinstance(action, SendDatagram) and not action.data.startswith(b"TS"):
                header = parse_header(action.data)
                found.append((action.to, header, self._open(action.data[HEADER_SIZE:])))
            elif isinstance(action, RelayAsked):
                found.append((action.peer, None, action))
        return found

    def _open(self, data):
        for keys in self.keys.values():
            try:
                return keys.open(data)[1]
            except Exception:  # sealed for another one
                continue
        raise AssertionError("nobody can open it")

    def messages(self, kind):
        return [message for _, _, message in self.sent() if isinstance(message, kind)]

    def endpoint(self, vni=VNI, lamport=1, server=4, **changes):
        values = {
            "server": self.keys[server].public,
            "clients": tuple(sorted((self.rig.ours.public, self.keys[2].public))),
            "lamport_id": lamport,
            "vni": vni,
            "bind_lifetime_ns": 30 * 10**9,
            "steady_lifetime_ns": 300 * 10**9,
            "addresses": (RELAY,),
        }
        return RelayEndpoint(**{**values, **changes})

    def derp(self, message, node=None, number=2):
        node = node or self.node
        sender = self.table.disco_sender(node.disco_key)
        peer = self.table.get(node.key)
        return self.manager.receive_by_derp(message, self.keys[number].public, sender, peer, self.rig.now)

    def udp(self, message, number, source=RELAY, vni=VNI, control=False):
        head = encode_header(GeneveHeader(PROTOCOL_DISCO, vni, control))
        sealed = self.keys[number].seal(self.rig.ours.public, message, bytes(24))
        return self.manager.receive(head + sealed, source, self.rig.now)

    def allocated(self):
        """Up to the first message of the handshake; its generation."""
        self.manager.consider(self.peer, self.rig.now)
        (request,) = self.messages(AllocateRelayEndpointRequest)
        self.derp(AllocateRelayEndpointResponse(request.generation, self.endpoint()), self.server, 3)
        (bind,) = self.messages(BindRelayEndpoint)
        return bind.generation

    def challenged(self):
        """Up to the answer; the transaction id of the ping that followed it."""
        generation = self.allocated()
        self.udp(BindRelayEndpointChallenge(VNI, generation, self.keys[2].public, SECRET), 4, control=True)
        (ping,) = self.messages(Ping)
        return ping.tx_id

    def proven(self):
        self.udp(Pong(self.challenged(), RELAY), 2)
        self.sent()

    @property
    def counters(self):
        return self.outbox.counters


@pytest.fixture
def managed(rig):
    return Managed(rig)


def test_ok__all_steps_up_to_a_path(managed):
    managed.manager.consider(managed.peer, managed.rig.now)
    ((to, _, request),) = managed.sent()
    assert to == managed.server.key
    assert set(request.clients) == {managed.rig.ours.public, managed.keys[2].public}
    managed.derp(AllocateRelayEndpointResponse(request.generation, managed.endpoint()), managed.server, 3)
    (told, _, via), (relay, header, bind) = managed.sent()
    assert (told, via) == (managed.node.key, CallMeMaybeVia(managed.endpoint()))
    assert (relay, header) == (RELAY, GeneveHeader(PROTOCOL_DISCO, VNI, control=True))
    assert isinstance(bind, BindRelayEndpoint)
    assert (bind.vni, bind.remote, bind.challenge) == (VNI, managed.keys[2].public, bytes(32))
    assert bind.generation
    challenge = BindRelayEndpointChallenge(VNI, bind.generation, bind.remote, SECRET)
    managed.udp(challenge, 4, control=True)
    (_, control, answer), (through, plain, ping) = managed.sent()
    assert (control.control, plain.control, through) == (True, False, RELAY)
    assert answer == BindRelayEndpointAnswer(VNI, bind.generation, bind.remote, SECRET)
    managed.rig.now += 0.04
    assert managed.udp(Pong(ping.tx_id, RELAY), 2) == (managed.peer,)
    best = managed.peer.best
    assert (best.addr_port, best.vni, best.direct) == (RELAY, VNI, False)
    assert best.latency_s == pytest.approx(0.04)
    assert managed.peer.trusted(managed.rig.now)
    assert managed.peer._pushed == PeerPath(RELAY, relay=False, vni=VNI)
    assert managed.manager.next_timer() is None


def test_ok__the_called_side_does_the_same_without_any_right(managed):
    managed.manager.servers = frozenset()
    managed.derp(CallMeMaybeVia(managed.endpoint()))
    (bind,) = managed.messages(BindRelayEndpoint)
    managed.udp(BindRelayEndpointChallenge(VNI, bind.generation, bind.remote, SECRET), 4, control=True)
    (ping,) = managed.messages(Ping)
    managed.udp(Pong(ping.tx_id, RELAY), 2)
    assert managed.peer.best.vni == VNI


def test_ok__pings_through_a_relay_are_always_answered_the_way_they_came(managed):
    managed.udp(Ping(b"t" * 12, managed.node.key), 2, source=OTHER, vni=99)
    assert managed.sent() == [(OTHER, GeneveHeader(PROTOCOL_DISCO, 99), Pong(b"t" * 12, OTHER))]
    managed.udp(Ping(b"t" * 12, managed.node.key), 2, source=OTHER, vni=99)
    assert managed.sent() == [], "the same one again"


def test_ok__a_ping_of_the_peer_is_answered_with_one_of_ours_while_we_wait(managed):
    managed.challenged()
    for number in range(MAX_PINGS + 5):
        managed.udp(Ping(bytes([number]) * 12, managed.node.key), 2)
    assert len(managed.messages(Ping)) == MAX_PINGS - 1


def test_ok__silent_relays_are_asked_again_once(managed):
    managed.manager.consider(managed.peer, managed.rig.now)
    (first,) = managed.messages(AllocateRelayEndpointRequest)
    assert managed.rig.run_timers(managed.manager, managed.rig.now) == []
    start = managed.rig.now
    for after, count in ((ALLOCATION_RETRY - 0.1, 0), (ALLOCATION_RETRY, 1), (ALLOCATION_LIMIT, 0)):
        managed.rig.now = start + after
        managed.manager.handle_timer(managed.rig.now)
        assert managed.messages(AllocateRelayEndpointRequest) == [first] * count
    assert managed.manager.next_timer() is None
    assert managed.counters["relay_gave_no_answer"] == 1


def test_ok__lost_messages_are_sent_again_until_the_deadline(managed):
    generation = managed.allocated()
    start = managed.rig.now
    managed.rig.now += HANDSHAKE_RETRIES[0]
    managed.manager.handle_timer(managed.rig.now)
    assert [bind.generation for bind in managed.messages(BindRelayEndpoint)] == [generation]
    while (at := managed.manager.next_timer()) is not None:
        managed.rig.now = at
        managed.manager.handle_timer(at)
    assert managed.rig.now == start + HANDSHAKE_LIMIT
    assert managed.counters["relay_handshake_failed"] == 1


def test_ok__it_is_looked_for_every_30_s_and_every_60_on_a_trusted_relay_path(managed):
    managed.proven()
    for after, count in ((DISCOVERY_INTERVAL + 1, 0), (UPGRADE_INTERVAL + 1, 1)):
        managed.manager._looked_at[managed.node.key] = managed.rig.now - after
        managed.manager.consider(managed.peer, managed.rig.now)
        assert len(managed.messages(AllocateRelayEndpointRequest)) == count


def test_ok__the_meeting_place_in_use_is_not_bound_anew(managed):
    managed.proven()
    managed.derp(CallMeMaybeVia(managed.endpoint()))
    assert managed.messages(BindRelayEndpoint) == []
    managed.derp(CallMeMaybeVia(managed.endpoint(vni=6, lamport=2)))
    assert len(managed.messages(BindRelayEndpoint)) == 1, "another number of the same relay is"


def test_ok__a_newer_number_of_the_relay_in_use_replaces_the_path_even_when_slower(managed):
    managed.proven()
    managed.derp(CallMeMaybeVia(managed.endpoint(vni=6, lamport=2)))
    (bind,) = managed.messages(BindRelayEndpoint)
    managed.udp(BindRelayEndpointChallenge(6, bind.generation, bind.remote, SECRET), 4, vni=6, control=True)
    (ping,) = managed.messages(Ping)
    managed.rig.now += 1.0
    managed.udp(Pong(ping.tx_id, RELAY), 2, vni=6)
    assert managed.peer.best.vni == 6


def test_ok__an_older_handshake_with_a_relay_gives_way_and_a_newer_one_stays(managed):
    managed.derp(CallMeMaybeVia(managed.endpoint(vni=5, lamport=5)))
    managed.derp(CallMeMaybeVia(managed.endpoint(vni=4, lamport=4)))
    managed.derp(CallMeMaybeVia(managed.endpoint(vni=6, lamport=6)))
    assert [bind.vni for bind in managed.messages(BindRelayEndpoint)] == [5, 6]
    assert [binding[1] for binding in managed.manager._handshakes] == [6]


def test_fail__nothing_is_asked_where_nothing_is_wanted(managed, rig):
    def asked(peer=managed.peer):
        managed.manager.consider(peer, rig.now)
        return managed.messages(AllocateRelayEndpointRequest)

    managed.manager.enabled = False
    assert asked() == []
    managed.manager.enabled = True
    rig.now += 60
    assert asked() == [], "an idle peer"
    old = rig.node(2, capability_version=120)
    managed.table.apply(NetmapDiff(changed={old.id: old}, previous={old.id: managed.node}), rig.now)
    managed.peer.wanted(rig.now)
    assert asked() == [], "a peer too old for it"


def test_fail__answers_that_nobody_asked_for(managed):
    managed.derp(AllocateRelayEndpointResponse(77, managed.endpoint()), managed.server, 3)
    managed.manager.consider(managed.peer, managed.rig.now)
    (request,) = managed.messages(AllocateRelayEndpointRequest)
    managed.derp(AllocateRelayEndpointResponse(request.generation, managed.endpoint()), managed.node, 2)
    assert managed.counters["relay_answer_unknown"] == 2
    strangers = tuple(sorted((managed.keys[3].public, managed.keys[2].public)))
    managed.derp(
        AllocateRelayEndpointResponse(request.generation, managed.endpoint(clients=strangers)), managed.server, 3
    )
    assert managed.counters["relay_wrong_pair"] == 1
    assert managed.messages(BindRelayEndpoint) == []


def test_fail__challenges_of_strangers_and_from_elsewhere(managed):
    generation = managed.allocated()
    good = BindRelayEndpointChallenge(VNI, generation, managed.keys[2].public, SECRET)
    managed.udp(good, 3, control=True)
    assert managed.counters["relay_challenge_unknown"] == 1
    managed.udp(good, 4, source=OTHER, control=True)
    managed.udp(BindRelayEndpointChallenge(VNI, generation + 1, good.remote, SECRET), 4, control=True)
    managed.udp(BindRelayEndpointChallenge(VNI, generation, managed.keys[3].public, SECRET), 4, control=True)
    assert managed.counters["relay_challenge_ignored"] == 3
    assert managed.messages(BindRelayEndpointAnswer) == []
    managed.udp(good, 4, control=True)
    managed.udp(good, 4, control=True)
    assert len(managed.messages(BindRelayEndpointAnswer)) == 1, "the first one counts"


def test_fail__a_pong_from_elsewhere_or_of_no_ping_proves_nothing(managed):
    tx_id = managed.challenged()
    managed.udp(Pong(tx_id, RELAY), 2, source=OTHER)
    managed.udp(Pong(b"?" * 12, RELAY), 2)
    managed.udp(CallMeMaybe(), 2)
    assert managed.peer.best is None
    assert managed.counters["disco_pong_unknown"] == 2
    assert managed.counters["disco_not_by_udp"] == 1


def test_fail__a_peer_that_calls_too_often_or_to_too_many_places(managed):
    for number in range(10):
        managed.derp(CallMeMaybeVia(managed.endpoint(vni=number + 1, lamport=number + 1)))
    assert managed.counters["relay_call_flood"] > 0
    for number in range(20):
        managed.rig.now += 2
        server = disco_keys(50 + number)
        managed.derp(CallMeMaybeVia(replace(managed.endpoint(), server=server.public)))
    assert len(managed.manager._handshakes) <= MAX_HANDSHAKES


def test_ok__a_peer_asks_us(managed):
    pair = (managed.keys[2].public, managed.keys[3].public)
    managed.derp(AllocateRelayEndpointRequest(pair, 9))
    ((_, _, asked),) = managed.sent()
    assert asked == RelayAsked(managed.node.key, pair, 9)
    managed.manager.offer(asked, managed.endpoint(clients=tuple(sorted(pair))), managed.rig.now)
    ((to, _, response),) = managed.sent()
    assert (to, response.generation) == (managed.node.key, 9)
    managed.derp(AllocateRelayEndpointRequest((managed.keys[3].public, managed.keys[4].public), 9))
    assert managed.counters["relay_request_for_others"] == 1
    for _ in range(300):
        managed.derp(AllocateRelayEndpointRequest(pair, 9))
    assert managed.counters["relay_request_flood"] > 0


def test_ok__a_peer_that_left_or_a_new_network_leaves_nothing(managed):
    managed.challenged()
    managed.manager.forget(managed.node.key)
    assert managed.manager.next_timer() is None
    managed.allocated()
    managed.manager.reset()
    assert managed.manager.next_timer() is None


def test_fail__hostile_bytes_leave_counters_only(managed):
    head = encode_header(GeneveHeader(PROTOCOL_DISCO, VNI))
    for data in (head, head + b"TS\xf0\x9f\x92\xac" + bytes(60), head + managed.keys[2].public.raw * 3, b"\x40" * 9):
        assert managed.manager.receive(data, RELAY, managed.rig.now) == ()
    assert managed.sent() == []


def test_ok__our_own_relay_is_asked_without_a_detour(managed):
    own = managed.rig.context.node_key
    managed.manager.servers = frozenset({own})
    managed.manager.consider(managed.peer, managed.rig.now)
    ((to, _, asked),) = managed.sent()
    assert (to, set(asked.clients)) == (own, {managed.rig.ours.public, managed.keys[2].public})
    managed.manager.offer(asked, managed.endpoint(), managed.rig.now)
    (told, _, via), (relay, _, bind) = managed.sent()
    assert (told, via) == (managed.node.key, CallMeMaybeVia(managed.endpoint()))
    assert (relay, type(bind)) == (RELAY, BindRelayEndpoint)
