"""What comes to a peer relay's port, and Geneve disco at a client of one."""

from __future__ import annotations

from appliance.api import Segments
from appliance.crypto.x25519 import clamp, public_key
from appliance.magicsock.machine import Magicsock
from appliance.ports.packets import MemoryUdpPort
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import (
    AllocateRelayEndpointResponse,
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    CallMeMaybeVia,
    DiscoKeys,
    Ping,
    RelayEndpoint,
)
from appliance.proto.geneve import PROTOCOL_DISCO, PROTOCOL_WIREGUARD, GeneveHeader, encode_header
from appliance.proto.peer_relay import RelayServer, Session
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, RegionId, StableNodeId
from appliance.types.keys import DiscoPrivateKey, NodePrivateKey
from appliance.types.netmap import NetmapDiff, Node
from plugins.peer_relay.forwarding import Forwarder
from tests.fuzz.runner import Target

NOW = 100.0
A, B, STRANGER = (AddrPort(f"192.0.2.{n}", n) for n in (1, 2, 3))
_keys = [DiscoKeys(DiscoPrivateKey(clamp(bytes([n]) * 32))) for n in (1, 2)]
_nodes = [public_key(NodePrivateKey(clamp(bytes([n]) * 32))) for n in (1, 2)]
_server = RelayServer(SeededRandomness("relay"))
_forwarder = Forwarder(_server, lambda _source, _packet: None)
_port = MemoryUdpPort(AddrPort("0.0.0.0", 41642))
_forwarder.use((_port,))
_session = _server.allocate("n", (_keys[0].public, _keys[1].public), NOW)
assert isinstance(_session, Session)
for _leg in _session.legs:
    _leg.bound = A if _leg.key == _keys[0].public else B
    _server._bound[_leg.bound] += 1


def run_relay(data: bytes) -> None:
    """Only what a bound side sends with the right number goes on, and as it is; answers are no larger than triggers."""
    for source, size in ((A, len(data)), (STRANGER, len(data)), (STRANGER, max(1, len(data) // 3))):
        _port.deliver(source, Segments(data, size))
        _forwarder.readable(_port, NOW)
        for to, batch in _port.sent:
            assert to == source or (source, to) == (A, B), "a stranger's packet went on"
            assert len(batch.buffer) <= len(data)
            assert to == source or bytes(batch.buffer) == data
        _port.sent.clear()


def _client() -> Magicsock:
    machine = Magicsock(_keys[0], SeededRandomness("client"), lambda region: None)
    machine.set_node_key(_nodes[0], NOW)
    peer = Node(
        NodeId(2), StableNodeId("n2"), "n2.", _nodes[1], disco_key=_keys[1].public, home_derp=RegionId(1),
        capability_version=130,
    )  # fmt: skip
    machine.apply(NetmapDiff(changed={peer.id: peer}), NOW)
    return machine


_machine = _client()


def run_relay_client(data: bytes) -> None:
    """The bytes as a datagram, and as what a peer sealed, by UDP and by DERP."""
    _machine.receive_datagram(STRANGER, data, NOW)
    sealed = _keys[1].seal(_keys[0].public, Ping(b"x" * 12), bytes(24))[:62] + data
    _machine.receive_datagram(
        STRANGER, encode_header(GeneveHeader(PROTOCOL_DISCO, 1, bool(len(data) % 2))) + sealed, NOW
    )
    _machine.receive_disco_by_derp(RegionId(1), _nodes[1], data, NOW)
    while _machine.next_action() is not None:
        continue


def _handshakes() -> list[bytes]:
    head = encode_header(GeneveHeader(PROTOCOL_DISCO, 1, control=True))
    kinds = (BindRelayEndpoint, BindRelayEndpointAnswer)
    messages = [kind(1, 7, _keys[1].public, bytes(32)) for kind in kinds]
    return [head + _keys[0].seal(_server.public_key, message, bytes(24)) for message in messages]


def _signals() -> list[bytes]:
    clients = (_keys[0].public, _keys[1].public)
    endpoint = RelayEndpoint(_server.public_key, clients, 1, 1, 30 * 10**9, 300 * 10**9, (A,))
    messages = (CallMeMaybeVia(endpoint), AllocateRelayEndpointResponse(1, endpoint))
    return [_keys[1].seal(_keys[0].public, message, bytes(24)) for message in messages]


_transport = encode_header(GeneveHeader(PROTOCOL_WIREGUARD, 1)) + b"\x04\0\0\0" + bytes(60)
_words = (b"\x00\x00\x7a\x12\x00\x00\x01\x00", b"\x00\x80\x7a\x11\x00\x00\x01\x00", b"TS\xf0\x9f\x92\xac")

TARGETS = (
    Target(
        "relay", run_relay, [_transport, *_handshakes()], ("appliance/proto/peer_relay", "plugins/peer_relay"), _words
    ),
    Target(
        "relay_client", run_relay_client, [_transport, *_handshakes(), *_signals()], ("appliance/magicsock",), _words
    ),
)
