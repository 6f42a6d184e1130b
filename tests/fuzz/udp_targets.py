"""What comes by UDP and through relays: WireGuard, the packets inside it, disco, STUN, Geneve, TSMP, DERP; and what
home routers say.
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address

from appliance.crypto.x25519 import clamp, public_key, x25519_public
from appliance.engine.userspace import choose_step, inner
from appliance.engine.userspace.packet_step import PacketStep, PureStep
from appliance.native import load
from appliance.portmap.machine import PortMapper
from appliance.portmap.mapping import RouterPlace
from appliance.portmap.outbox import FetchFromRouter
from appliance.ports.randomness import SeededRandomness
from appliance.proto.derp.client import DerpClient
from appliance.proto.derp.frames import encode_frame, parse_frame
from appliance.proto.derp.handshake import (
    ClientInfo,
    ServerInfo,
    encode_client_info,
    encode_server_info,
    parse_client_info,
    parse_server_info,
    seal_client_info,
)
from appliance.proto.derp.parser import FrameParser
from appliance.proto.derp.server import HandshakeState, ServerHandshake
from appliance.proto.derp.upgrade import meta_key, upgrade_response
from appliance.proto.disco import DiscoKeys, classify, encode_message, parse_message
from appliance.proto.geneve import encode_header, parse_header
from appliance.proto.portmap import igd, natpmp, pcp, ssdp
from appliance.proto.portmap.markup import parse_markup
from appliance.proto.portmap.web import Reply
from appliance.proto.portmap.web import parse_reply as parse_web_reply
from appliance.proto.stun import (
    encode_request,
    encode_response,
    encode_ticket,
    encode_train_request,
    parse_foreign_request,
    parse_request,
    parse_response,
    parse_train_request,
)
from appliance.proto.tsmp import packet as tsmp
from appliance.proto.wireguard import Tunnel, TunnelPeer
from appliance.proto.wireguard import messages as wireguard
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import DerpPrivateKey, DiscoPrivateKey, NodePrivateKey, NodePublicKey
from tests.fuzz.corpus import vectors
from tests.fuzz.runner import Target

SOURCE = AddrPort("192.0.2.1", 41641)


# --- WireGuard ------------------------------------------------------------------------------------------------------


class Pair:
    """Two ends with a session between them, with ciphers of one form of the packet step."""

    def __init__(self, step: PacketStep) -> None:
        random = SeededRandomness("fuzz")
        self.ends = [
            Tunnel(NodePrivateKey(clamp(random.bytes(32))), random, lambda: 10**18, make_cipher=step.make_cipher)
            for _ in range(2)
        ]
        for one, other in (self.ends, self.ends[::-1]):
            one.configure(TunnelPeer(other.public), 0.0)
        self.now = 0.0
        self.ends[0].stage(self.ends[1].public, bytes(32))
        self.ends[0].flush(self.ends[1].public, 0.0)
        self.carry()

    def carry(self) -> None:
        for step in range(4):
            for out in self.ends[step % 2].datagrams_to_send(self.now):
                self.ends[1 - step % 2].receive_datagram(out.data, SOURCE, self.now)


STEPS: list[PacketStep] = [PureStep()] if load() is None else [PureStep(), choose_step("on")]
_pairs = [Pair(step) for step in STEPS]


def run_wireguard(data: bytes) -> None:
    with suppress(DecodeError):
        parsed = wireguard.parse_message(data)
        assert wireguard.parse_message(wireguard.encode_message(parsed)) == parsed
    for pair in _pairs:
        receiver = pair.ends[1]
        receiver.receive_datagram(data, SOURCE, pair.now)
        receiver.receive_batch([memoryview(bytearray(data)), memoryview(bytearray(data[:20]))], SOURCE, pair.now)
        receiver.datagrams_to_send(pair.now)
        while receiver.next_event() is not None:
            pass


def _handshake_seeds() -> list[bytes]:
    """A whole valid exchange between the two ends of the target."""
    random = SeededRandomness("fuzz seeds")
    one, other = (Tunnel(NodePrivateKey(clamp(random.bytes(32))), random, lambda: 10**18) for _ in range(2))
    one.configure(TunnelPeer(other.public), 0.0)
    other.configure(TunnelPeer(one.public), 0.0)
    one.stage(other.public, bytes(48))
    one.flush(other.public, 0.0)
    seen: list[bytes] = []
    ends = (one, other)
    for step in range(4):
        for out in ends[step % 2].datagrams_to_send(0.0):
            seen.append(out.data)
            ends[1 - step % 2].receive_datagram(out.data, SOURCE, 0.0)
    return seen


# --- inside the tunnel ----------------------------------------------------------------------------------------------


def _tcp(sequence: int, payload: bytes) -> bytes:
    head = bytearray(40)
    head[0], head[9], head[32], head[33] = 0x45, 6, 0x50, 0x10
    head[2:4] = (40 + len(payload)).to_bytes(2, "big")
    head[12:20] = b"\x0a\x00\x00\x01\x0a\x00\x00\x02"
    head[20:24] = b"\x1f\x90\x00\x50"
    head[24:28] = sequence.to_bytes(4, "big")
    return bytes(head) + payload


def run_inner(data: bytes) -> None:
    """The input is cut in halves: two packets that an authorised but hostile peer sends in one batch."""
    middle = len(data) // 2
    packets = []
    for part in (data[:middle], data[middle:], data):
        view = memoryview(bytearray(part))
        if inner.source(view) is None or inner.destination(view) is None:
            continue
        length = inner.true_length(view)
        if length is not None:
            packets.append(view[:length])
        with suppress(DecodeError):
            tsmp.parse_packet(view)
    total = sum(len(packet) for packet in packets)
    forms = [step.join(packets) for step in STEPS]
    assert all(sum(len(item.data) for item in joined) <= total for joined in forms)
    plain = [[(bytes(item.data), item.gso_size, item.header_bytes) for item in joined] for joined in forms]
    assert all(joined == plain[0] for joined in plain), "the forms of the packet step disagree"


# --- disco, STUN, Geneve --------------------------------------------------------------------------------------------

_ours = DiscoKeys(DiscoPrivateKey(b"\x08" * 32))
_theirs = DiscoKeys(DiscoPrivateKey(b"\x10" * 32))


def run_disco(data: bytes) -> None:
    classify(data)
    with suppress(DecodeError):
        _theirs.open(data)
    with suppress(DecodeError):
        message = parse_message(data)
        assert parse_message(encode_message(message)) == message
        sealed = _ours.seal(_theirs.public, message, bytes(24))
        assert _theirs.open(sealed) == (_ours.public, message)


def run_stun(data: bytes) -> None:
    classify(data)
    with suppress(DecodeError):
        parse_request(data)
    with suppress(DecodeError):
        parse_foreign_request(data)
    with suppress(DecodeError):
        request = parse_train_request(data)
        assert parse_train_request(encode_train_request(request.tx_id, request.ticket, request.packets)) == request
    with suppress(DecodeError):
        response = parse_response(data)
        assert parse_response(encode_response(response.tx_id, response.mapped)).mapped == response.mapped


def run_geneve(data: bytes) -> None:
    classify(data)
    with suppress(DecodeError):
        header = parse_header(data)
        assert parse_header(encode_header(header)) == header


def run_tsmp(data: bytes) -> None:
    with suppress(DecodeError):
        packet = tsmp.parse_packet(data)
        assert tsmp.parse_packet(tsmp.encode_packet(packet)).source == packet.source
    with suppress(DecodeError):
        tsmp.parse_message(data)


# --- home routers ---------------------------------------------------------------------------------------------------

_PLACE = RouterPlace(IPv4Address("192.168.1.1"), IPv4Address("192.168.1.10"))
_SSDP = b"HTTP/1.1 200 OK\r\nUSN: a:InternetGatewayDevice:1\r\nLOCATION: http://192.168.1.1:5000/d.xml\r\n\r\n"
_DEVICE = (
    b"<?xml version='1.0'?><root><URLBase>http://192.168.1.1:5000</URLBase><device><serviceList><service>"
    b"<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/c</controlURL></service>"
    b"</serviceList></device></root>"
)
_SOAP = b"<e><b><GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.5</NewExternalIPAddress>"
_SOAP += b"</GetExternalIPAddressResponse><detail><errorCode>725</errorCode></detail></b></e>"
_HTTP = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


def run_portmap(data: bytes) -> None:
    """Every codec, and the machine while it searches, asks and has a mapping."""
    for parse in (natpmp.parse_reply, pcp.parse_reply, ssdp.parse_answer, parse_markup):
        with suppress(DecodeError):
            parse(data)
    for ended in (False, True):
        with suppress(DecodeError):
            parse_web_reply(data, ended=ended)
    with suppress(DecodeError):
        for service in igd.parse_description(data, "http://192.168.1.1:5000/d.xml"):
            igd.encode_action(_PLACE.router, service, "X")
    with suppress(DecodeError):
        igd.parse_external_address(igd.parse_action_reply(200, data, "GetExternalIPAddress"))
    _run_port_mapper(data)


def _run_port_mapper(data: bytes) -> None:
    machine = PortMapper(SeededRandomness("fuzz"))
    machine.set_network(_PLACE, 41641, 0.0)
    for step in range(12):
        now = step * 0.7
        machine.receive_datagram(data, AddrPort("192.168.1.1", 5351 if step % 2 else 1900), now)
        while (action := machine.next_action()) is not None:
            if isinstance(action, FetchFromRouter):
                machine.receive_web(action.token, Reply(200 if step % 3 else 500, data), now)
        machine.handle_timer(now)
        due = machine.next_timer()
        assert due is not None


# --- DERP -----------------------------------------------------------------------------------------------------------

_server_key = DerpPrivateKey(clamp(b"\x20" * 32))
_client_key = NodePrivateKey(clamp(b"\x30" * 32))
_hello = seal_client_info(_client_key, public_key(_server_key), ClientInfo(), bytes(24))


def _server_info_frame() -> bytes:
    server = ServerHandshake(_server_key, 0.0, answer_upgrade=True)
    server.receive_data(encode_frame(_hello))
    assert server.state is HandshakeState.ADMITTING
    frame, _, _ = server.accept(bytes(24), ServerInfo())
    return frame


_greeting = (
    upgrade_response(public_key(_server_key)) + ServerHandshake(_server_key, 0.0, answer_upgrade=False).data_to_send()
)
_server_info = _server_info_frame()


def run_derp(data: bytes) -> None:
    """Frames on both sides, before and after the handshake, whole and in two cuts."""
    whole, cut = FrameParser(), FrameParser()
    frames = []
    with suppress(DecodeError):
        frames = whole.feed(data)
        assert cut.feed(data[: len(data) // 3]) + cut.feed(data[len(data) // 3 :]) == frames
    for kind, payload in frames:
        with suppress(DecodeError):
            parse_frame(kind, payload)
    server = ServerHandshake(_server_key, 0.0, answer_upgrade=True)
    server.receive_data(data)
    if server.hello is not None:
        server.accept(bytes(24), ServerInfo())
    for prefix in (b"", _greeting, _greeting + _server_info):
        client = DerpClient(_client_key, "derp.example", bytes(24), 0.0)
        client.receive_data(prefix, 0.0)
        client.receive_data(data or b"\0", 0.0)
        client.data_to_send(0.0)
        while client.next_event() is not None:
            pass


def run_derp_info(data: bytes) -> None:
    with suppress(DecodeError):
        parse_client_info(data)
    with suppress(DecodeError):
        parse_server_info(data)
    with suppress(DecodeError):
        meta_key(data)


_node = NodePublicKey(x25519_public(clamp(b"\x40" * 32)))

TARGETS = (
    Target("wireguard", run_wireguard, [*vectors("wireguard"), *_handshake_seeds()], ("appliance/proto/wireguard",)),
    Target(
        "inner",
        run_inner,
        [_tcp(1, b"a" * 32) + _tcp(33, b"b" * 32), bytes([0x60]) + bytes(60), *vectors("tsmp")],
        ("appliance/engine/userspace", "appliance/proto/tsmp"),
    ),
    Target("disco", run_disco, vectors("disco"), ("appliance/proto/disco",)),
    Target(
        "stun",
        run_stun,
        [
            *vectors("stun"),
            encode_request(bytes(12)),
            encode_response(bytes(12), AddrPort("2001:db8::1", 9)),
            encode_train_request(bytes(12), b"t" * 16, 64),
            encode_ticket(bytes(12), AddrPort("192.0.2.1", 9), b"t" * 16),
        ],
        ("appliance/proto/stun", "appliance/proto/disco"),
    ),
    Target(
        "portmap",
        run_portmap,
        [*vectors("portmap"), _SSDP, _DEVICE, _SOAP, _HTTP],
        ("appliance/proto/portmap", "appliance/portmap"),
        words=(b"<!DOCTYPE", b"<!ENTITY", b"&#0;", b"http://", b"errorCode", b"Response", b"Content-Length: 9"),
    ),
    Target("geneve", run_geneve, vectors("geneve"), ("appliance/proto/geneve", "appliance/proto/disco")),
    Target("tsmp", run_tsmp, vectors("tsmp"), ("appliance/proto/tsmp",)),
    Target(
        "derp",
        run_derp,
        [*vectors("derp"), encode_frame(_hello), _greeting, _server_info, _node.raw],
        ("appliance/proto/derp", "appliance/proto/http1"),
    ),
    Target(
        "derp_info",
        run_derp_info,
        [encode_client_info(ClientInfo()), encode_server_info(ServerInfo(bytes_per_s=9, burst_bytes=9))],
        ("appliance/proto/derp",),
        words=(b'"meshKey":"', b'"IsProber":', b'"AppName":', b"null", b"true", b"[[", b'{"":', b"\\ud800", b"1e400"),
    ),
)
