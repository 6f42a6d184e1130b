"""What comes from a control server or from its clients: Noise, HTTP/1.1 heads, HTTP/2 in records, maps, requests."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from appliance.crypto.x25519 import clamp, public_key
from appliance.netmap.server_key import parse_chunks
from appliance.netmap.store import NetmapStore
from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.proto.control.hostinfo import Hostinfo
from appliance.proto.control.mapstream import MapFramer, MapStreamReader
from appliance.proto.control.tunnel import ClientTunnel, ServerTunnel
from appliance.proto.control.upgrade import ACCEPTED, encode_upgrade, parse_key_response, parse_upgrade
from appliance.proto.http1.head import parse_request_head, parse_response_head
from appliance.proto.noise.handshake import Initiator, Responder
from appliance.proto.noise.records import RecordReader
from appliance.proto.websocket import Message, ServerParser
from appliance.types.errors import DecodeError
from appliance.types.keys import MachinePrivateKey, MachinePublicKey
from control.tls.client_hello import NeedMoreError, parse_client_hello
from tests.fuzz.corpus import vectors
from tests.fuzz.runner import Target
from tests.unit.control.tls.test_client_hello import HELLO

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
SERVER = MachinePrivateKey(clamp(bytes(range(64, 96))))
SERVER_PUBLIC: MachinePublicKey = public_key(SERVER)
NODE_KEY = "nodekey:" + "1a" * 32


def _initiator() -> Initiator:
    return Initiator(MACHINE, SERVER_PUBLIC, version=130, ephemeral_seed=bytes(range(32, 64)))


# --- Noise and the upgrade ------------------------------------------------------------------------------------------


def run_noise(data: bytes) -> None:
    with suppress(DecodeError):
        Responder(SERVER, ephemeral_seed=bytes(32)).receive_initiation(data)
    with suppress(DecodeError):
        _initiator().receive_response(data)
    with suppress(DecodeError):
        RecordReader(bytes(32)).receive_data(data)


def run_http1(data: bytes) -> None:
    with suppress(DecodeError):
        parsed = parse_request_head(data)
        if parsed is not None:
            head, size = parsed
            assert size <= len(data)
            assert "?" not in head.path
            head.query("v")
            head.tokens("connection")
            assert head.keep_alive in (True, False)
            head.content_length()
            parse_upgrade(head)
    with suppress(DecodeError):
        answer = parse_response_head(data)
        if answer is not None:
            answer[0].content_length()
    with suppress(DecodeError):
        parse_chunks(data)
    with suppress(DecodeError):
        parse_key_response(data)


def run_client_hello(data: bytes) -> None:
    with suppress(DecodeError, NeedMoreError):
        hello = parse_client_hello(data)
        assert hello.server_name == hello.server_name.lower()
        assert len(hello.server_name) + sum(map(len, hello.protocols)) < len(data)


# --- HTTP/2 inside --------------------------------------------------------------------------------------------------


def run_tunnel(data: bytes) -> None:
    """Authenticated but hostile: the input is plaintext inside records, in two pieces, in both directions."""
    initiator = _initiator()
    client = ClientTunnel("h", initiator)
    head = parse_request_head(client.data_to_send())
    assert head is not None
    server = ServerTunnel(SERVER, parse_upgrade(head[0]), ephemeral_seed=bytes(32))
    client.receive_data(ACCEPTED + server.data_to_send())
    stream = client.request("POST", "/x", b"body")
    server.receive_data(client.data_to_send())
    assert client._session is not None
    assert server._session is not None
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        server.receive_data(client._session.writer.seal(part))
        client.receive_data(server._session.writer.seal(part))
    for machine in (client, server):
        machine.data_to_send()
        while machine.next_event() is not None:
            pass
    server.respond(stream, 200, b"late")
    server.data_to_send()


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


HTTP2_SEEDS = [
    _frame(4, 0, 0, bytes.fromhex("000300000064")) + _frame(4, 1, 0, b""),
    _frame(1, 5, 3, bytes.fromhex("838684410166")) + _frame(0, 1, 3, b"data"),
    _frame(8, 0, 0, b"\x00\x00\xff\xff") + _frame(6, 0, 0, bytes(8)) + _frame(7, 0, 0, bytes(8)),
    _frame(3, 0, 1, bytes(4)) + _frame(1, 0, 5, b"\x82") + _frame(9, 4, 5, b"\x86"),
    b"\xff\xff\xffTS" + (2).to_bytes(4, "big") + b"{}",
]


# --- map and registration -------------------------------------------------------------------------------------------


def _node(number: int) -> wire.Node:
    return wire.Node(
        id=number,
        stable_id=f"n{number}",
        name=f"n{number}.mesh.test.",
        key="nodekey:" + f"{number:02x}" * 32,
        disco_key="discokey:" + "2b" * 32,
        machine="mkey:" + "3c" * 32,
        addresses=[f"100.64.0.{number}/32", f"fd7a:115c:a1e0::{number}/128"],
        allowed_ips=[f"100.64.0.{number}/32", "192.168.10.0/24"],
        endpoints=["192.0.2.1:41641", "[2001:db8::1]:41641"],
        home_derp=1,
        hostinfo=Hostinfo(hostname="n", os="linux", routable_ips=["192.168.10.0/24"]),
        online=True,
        key_expiry="2027-01-01T00:00:00Z",
        cap_map={"cap": [1, {"a": None}]},
    )


FULL = wire.MapResponse(
    node=_node(1),
    peers=[_node(2), _node(3)],
    domain="mesh.test",
    derp_map=wire.DerpMap(
        regions={"1": wire.DerpRegion(region_id=1, region_code="x", nodes=[wire.DerpNode(name="1a", region_id=1)])}
    ),
    packet_filter=[
        wire.FilterRule(
            src_ips=["*", "100.64.0.1-100.64.0.9", "10.0.0.0/8"],
            dst_ports=[wire.NetPortRange(ip="*", ports=wire.PortRange(first=0, last=65535))],
        )
    ],
    user_profiles=[wire.UserProfile(id=1, login_name="a@b", display_name="a")],
)
PATCH = wire.MapResponse(
    peers_changed_patch=[wire.PeerChange(node_id=2, endpoints=["192.0.2.2:1"], online=False)],
    peers_removed=[3],
    online_change={2: True},
)


def _apply(store: NetmapStore, message: bytes) -> None:
    with suppress(DecodeError):
        store.apply(wire.decode(wire.MapResponse, message), NOW)


def run_map(data: bytes) -> None:
    """Framing as it comes; the JSON on its own, upon an empty netmap and upon a full one."""
    for compressed in (True, False):
        reader = MapStreamReader(compressed=compressed, max_frame=8192, max_message=65536)
        with suppress(DecodeError):
            reader.receive_data(data)
            while (message := reader.next_message()) is not None:
                assert len(message) <= 65536
    store = NetmapStore()
    store.begin_stream()
    _apply(store, data)
    _apply(store, wire.encode(FULL))
    _apply(store, data)
    _apply(store, wire.encode(PATCH))
    store.expire(NOW)
    view = store.view
    assert view.derp_map is not None
    assert isinstance(view.filter_rules, tuple)
    assert view.dns is not None
    assert isinstance(view.domain, str)


def run_register(data: bytes) -> None:
    """Requests at the server, answers at the node."""
    with suppress(DecodeError):
        request = wire.decode(wire.RegisterRequest, data)
        repr(request)
        wire.encode(request)
        wire.parse_time(request.expiry)
        convert.node_key(request.node_key)
    with suppress(DecodeError):
        request = wire.decode(wire.MapRequest, data)
        convert.typed_endpoints(request.endpoints, request.endpoint_types)
        convert.disco_key(request.disco_key)
        convert.node_key(request.node_key)
    with suppress(DecodeError):
        wire.decode(wire.RegisterResponse, data)
    with suppress(DecodeError):
        wire.decode(wire.EarlyPayload, data)


REGISTER = wire.RegisterRequest(
    version=130,
    node_key=NODE_KEY,
    auth=wire.Auth(auth_key="hskey-auth-x"),
    hostinfo=Hostinfo(hostname="gw", os="linux", routable_ips=["192.168.10.0/24"]),
    expiry="2027-01-01T00:00:00Z",
)
MAP_REQUEST = wire.MapRequest(
    version=130,
    node_key=NODE_KEY,
    stream=True,
    compress="zstd",
    disco_key="discokey:" + "2b" * 32,
    endpoints=["192.0.2.1:41641"],
    endpoint_types=[2],
)
JSON_WORDS = (b"null", b"true", b'""', b"[]", b"{}", b"-1", b"1e999", b'"\\ud800"', b"[[[[[[", b'{"a":', b"1" * 400)


def _names(*kinds: type[msgspec.Struct]) -> list[bytes]:
    names = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    return [f'"{name}":'.encode() for name in sorted(names)]


def run_websocket(data: bytes) -> None:
    """Whole or in pieces the same messages, up to the first bad byte."""
    found: list[list[Message]] = [[], []]
    for kept, step in zip(found, (len(data) or 1, 3), strict=True):
        parser = ServerParser()
        with suppress(DecodeError):
            for at in range(0, len(data), step):
                kept += parser.feed(data[at : at + step])
    assert found[1][: len(found[0])] == found[0]


TARGETS = (
    Target(
        "websocket",
        run_websocket,
        [bytes.fromhex("818537fa213d7f9f4d5158"), bytes.fromhex("02813737373761808137373737"), b"\x88\x82abcd\x62\x8a"],
        ("appliance/proto/websocket",),
    ),
    Target("noise", run_noise, vectors("noise"), ("appliance/proto/noise",)),
    Target(
        "http1",
        run_http1,
        [
            encode_upgrade("h:8080", _initiator().initiation()),
            ACCEPTED,
            b"GET /key?v=130 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            b"3\r\nabc\r\n0\r\n\r\n",
            b'{"publicKey":"mkey:' + b"1a" * 32 + b'"}',
        ],
        ("appliance/proto/http1", "appliance/proto/control/upgrade.py", "appliance/netmap/server_key.py"),
        words=(b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked", b"HTTP/1.1", b"%", b"://"),
    ),
    Target("client-hello", run_client_hello, [HELLO], ("control/tls/client_hello.py",)),
    Target("tunnel", run_tunnel, HTTP2_SEEDS, ("appliance/proto/control",)),
    Target(
        "map",
        run_map,
        [
            wire.encode(FULL),
            wire.encode(PATCH),
            MapFramer(compress=True).frame(wire.encode(PATCH)),
            MapFramer(compress=False).frame(wire.encode(PATCH)),
        ],
        ("appliance/proto/control", "appliance/netmap/store.py"),
        words=(*JSON_WORDS, *_names(wire.MapResponse, wire.Node, wire.PeerChange, wire.FilterRule)),
    ),
    Target(
        "register",
        run_register,
        [wire.encode(REGISTER), wire.encode(MAP_REQUEST)],
        ("appliance/proto/control",),
        words=(*JSON_WORDS, *_names(wire.RegisterRequest, wire.MapRequest, wire.Auth, Hostinfo)),
    ),
)
