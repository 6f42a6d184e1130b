"""Whatever arrives, no exception leaves the machine, and what it holds stays bounded."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto.x25519 import clamp, public_key
from appliance.magicsock.machine import Magicsock
from appliance.magicsock.outbox import ReadInterfaces, SendDatagram, SetPath
from appliance.magicsock.timing import MAX_CANDIDATES
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import PeerActivity
from appliance.proto.disco import CallMeMaybe, DiscoKeys, Ping, Pong
from appliance.proto.stun import encode_response
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, RegionId, StableNodeId
from appliance.types.keys import DiscoPrivateKey, NodePrivateKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion, NetmapDiff, Node

OURS = DiscoKeys(DiscoPrivateKey(clamp(b"\x01" * 32)))
THEIRS = DiscoKeys(DiscoPrivateKey(clamp(b"\x02" * 32)))
US = public_key(NodePrivateKey(clamp(b"\x03" * 32)))
PEER = public_key(NodePrivateKey(clamp(b"\x04" * 32)))
NODE = Node(
    NodeId(2), StableNodeId("n2"), "n2.example.", PEER, disco_key=THEIRS.public, home_derp=RegionId(1),
    endpoints=(AddrPort("192.0.2.2", 41641),),
)  # fmt: skip
MAP = DerpMap(
    {
        RegionId(1): DerpRegion(
            RegionId(1), "r", "R", (DerpNode("1a", RegionId(1), "d", ipv4="203.0.113.1", ipv6="none"),)
        )
    }
)

ips = st.sampled_from(["192.0.2.2", "198.51.100.4", "10.0.0.1", "2001:db8::2", "fe80::1", "127.0.0.1", "100.64.0.9"])
endpoints = st.builds(AddrPort, ips, st.integers(0, 65535))
tx_ids = st.binary(min_size=12, max_size=12)
messages = st.one_of(
    st.builds(Ping, tx_ids, st.sampled_from([None, PEER, US]), st.integers(0, 40)),
    st.builds(Pong, tx_ids, endpoints),
    st.builds(lambda many: CallMeMaybe(tuple(many)), st.lists(endpoints, max_size=60)),
)
steps = st.one_of(
    st.tuples(st.just("raw"), endpoints, st.binary(max_size=200)),
    st.tuples(st.just("disco"), endpoints, messages),
    st.tuples(st.just("derp"), endpoints, messages),
    st.tuples(st.just("stun"), endpoints, tx_ids),
    st.tuples(st.just("cut"), endpoints, st.tuples(messages, st.integers(0, 150))),
    st.tuples(st.just("wanted"), endpoints, st.none()),
    st.tuples(st.just("echo"), endpoints, st.none()),
    st.tuples(st.just("busy"), endpoints, st.booleans()),
    st.tuples(st.just("failed"), endpoints, st.sampled_from([1, 101, 113, None])),
    st.tuples(st.just("link"), endpoints, st.booleans()),
    st.tuples(st.just("time"), endpoints, st.floats(0, 100)),
)


class Attacked:
    def __init__(self) -> None:
        self.now = 500.0
        self.machine = Magicsock(OURS, SeededRandomness(3), lambda region: None)
        self.randomness = SeededRandomness(4)
        self.proven: set[AddrPort] = set()
        self.pinged: list[tuple[AddrPort, bytes]] = []
        self.machine.set_node_key(US, self.now)
        self.machine.set_derp_map(MAP, self.now)
        self.machine.apply(NetmapDiff(changed={NODE.id: NODE}), self.now)
        self.drain()

    def seal(self, message: Ping | Pong | CallMeMaybe) -> bytes:
        return THEIRS.seal(OURS.public, message, self.randomness.bytes(24))

    def drain(self) -> None:
        while (action := self.machine.next_action()) is not None:
            if isinstance(action, ReadInterfaces):
                self.machine.receive_interfaces([ip_address("192.168.1.5")], [AddrPort("0.0.0.0", 41641)], self.now)
            elif isinstance(action, SendDatagram) and action.data.startswith(b"TS"):
                message = THEIRS.open(action.data)[1]
                if isinstance(message, Ping):
                    self.pinged.append((action.to, message.tx_id))
            elif isinstance(action, SetPath) and action.path.direct is not None:
                assert action.path.direct in self.proven, "data goes only where a pong came back"

    def step(self, kind: str, endpoint: AddrPort, value: object) -> None:
        machine, now = self.machine, self.now
        match kind, value:
            case "raw", bytes():
                machine.receive_datagram(endpoint, value, now)
            case "disco", (Ping() | Pong() | CallMeMaybe()):
                machine.receive_datagram(endpoint, self.seal(value), now)
            case "derp", (Ping() | Pong() | CallMeMaybe()):
                machine.receive_disco_by_derp(RegionId(1), PEER, self.seal(value), now)
            case "stun", bytes():
                machine.receive_datagram(endpoint, encode_response(value, AddrPort("192.0.2.9", 5)), now)
            case "cut", (message, int(size)):
                machine.receive_datagram(endpoint, self.seal(message)[:size], now)
            case "wanted", _:
                machine.wanted(PEER, now)
            case "echo", _:
                if self.pinged:
                    to, tx_id = self.pinged.pop()
                    self.proven.add(to)
                    machine.receive_datagram(endpoint, self.seal(Pong(tx_id, endpoint)), now)
            case "busy", bool():
                machine.activity([PeerActivity(PEER, 10, 10, endpoint, value)], now)
            case "failed", (int() | None):
                machine.send_failed(PEER, endpoint, value, now)
            case "link", bool():
                machine.link_changed(value, now)
            case "time", float():
                self.pass_time(value)
        self.drain()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        fired = 0
        while (at := self.machine.next_timer()) is not None and at <= end:
            assert at > self.now - 60, "no timer lies far in the past"
            self.now = max(self.now, at)
            self.machine.handle_timer(self.now)
            self.drain()
            fired += 1
            assert fired < 2000, "timers make progress"
        self.now = end


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_ok__hostile_events_never_raise_and_never_move_a_path_unproven(events):
    attacked = Attacked()
    for kind, endpoint, value in events:
        attacked.step(kind, endpoint, value)
    status = attacked.machine.status(PEER, attacked.now)
    assert status is not None
    assert len(status.candidates) <= MAX_CANDIDATES
