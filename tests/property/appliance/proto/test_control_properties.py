"""Control protocol: round trips, truncation, mutation; hostile bytes never raise anything but DecodeError."""

import contextlib
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.proto.control.delta import WireNetmap
from appliance.proto.control.mapstream import MapFramer, MapStreamReader
from appliance.proto.control.packet_filter import PacketFilterReader
from appliance.proto.control.tunnel import ClientTunnel, ServerTunnel
from appliance.proto.control.upgrade import ACCEPTED, parse_handshake, parse_key_response, parse_upgrade
from appliance.proto.http1.head import encode_request_head, parse_request_head, parse_response_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.errors import DecodeError
from appliance.types.keys import MachinePrivateKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
SERVER = MachinePrivateKey(clamp(bytes(range(64, 96))))

texts = st.text(max_size=12)
hostinfos = st.builds(wire.Hostinfo, hostname=texts, os=texts, routable_ips=st.lists(texts, max_size=3))
nodes = st.builds(
    wire.Node,
    id=st.integers(1, 40),
    name=texts,
    key=texts,
    addresses=st.lists(texts, max_size=3),
    allowed_ips=st.none() | st.lists(texts, max_size=3),
    endpoints=st.none() | st.lists(texts, max_size=3),
    hostinfo=st.none() | hostinfos,
    online=st.none() | st.booleans(),
    cap_map=st.dictionaries(texts, st.none() | st.lists(st.integers(0, 9), max_size=2), max_size=2),
    last_seen=st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "junk"]),
)
patches = st.builds(
    wire.PeerChange,
    node_id=st.integers(1, 40),
    endpoints=st.none() | st.lists(texts, max_size=2),
    online=st.none() | st.booleans(),
    disco_key=texts,
)
responses = st.builds(
    wire.MapResponse,
    node=nodes,
    peers=st.lists(nodes, max_size=3),
    peers_changed=st.lists(nodes, max_size=3),
    peers_removed=st.lists(st.integers(-1, 40), max_size=3),
    peers_changed_patch=st.lists(patches, max_size=3),
    online_change=st.dictionaries(st.integers(1, 40), st.booleans(), max_size=3),
    packet_filter=st.none() | st.just([]),
    packet_filters=st.dictionaries(texts, st.none() | st.lists(st.builds(wire.FilterRule), max_size=2), max_size=3),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(response=responses)
@settings(max_examples=100)
def test_ok__map_response_round_trip(response: wire.MapResponse) -> None:
    assert wire.decode(wire.MapResponse, wire.encode(response)) == response


@given(response=responses, swap=st.booleans())
@settings(max_examples=60)
def test_ok__field_names_in_any_case(response: wire.MapResponse, swap: bool) -> None:
    import msgspec

    def respell(value: object, kind: object) -> object:
        if isinstance(value, msgspec.Struct):
            fields = msgspec.structs.fields(type(value))
            plain = {field.encode_name: getattr(value, field.name) for field in fields}
            return {(name.lower() if swap else name.upper()): respell(part, None) for name, part in plain.items()}
        if isinstance(value, list):
            return [respell(part, None) for part in value]
        if isinstance(value, dict):
            return {name: respell(part, None) for name, part in value.items()}
        return value

    assert wire.decode(wire.MapResponse, msgspec.json.encode(respell(response, None))) == response


@given(response=responses)
@settings(max_examples=15)
def test_fail__truncated_at_every_byte(response: wire.MapResponse) -> None:
    encoded = wire.encode(response)
    for size in range(0, len(encoded), max(1, len(encoded) // 200)):
        with contextlib.suppress(DecodeError):
            wire.decode(wire.MapResponse, encoded[:size])
            raise AssertionError("half a message was read")


@given(
    names=st.lists(st.sampled_from(["Node", "peers", "DERPMap", "PacketFilters", "UserProfiles", "x"])), data=st.data()
)
@settings(max_examples=150)
def test_fail__values_of_any_type(names: list[str], data: st.DataObject) -> None:
    import msgspec

    message = {name: data.draw(anything) for name in names}
    with contextlib.suppress(DecodeError):
        response = wire.decode(wire.MapResponse, msgspec.json.encode(message))
        WireNetmap().apply(response, NOW)


@given(sequence=st.lists(responses, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_ok__what_was_applied_is_what_differs(sequence: list[wire.MapResponse]) -> None:
    """Model: the sets in `Applied` turn the former peer ids into the present ones, values convert, and who reads one
    packet filter after the other reads what somebody new would."""
    netmap, reader = WireNetmap(), PacketFilterReader()
    for response in sequence:
        before = set(netmap.peers)
        applied = netmap.apply(response, NOW)
        assert set(netmap.peers) == (before - applied.removed) | applied.added
        assert not applied.added & before
        assert applied.changed <= before & set(netmap.peers)
        convert.nodes(netmap.peers.values())
        rules = tuple(netmap.packet_filter())
        assert reader.read(rules) == PacketFilterReader().read(rules)
        convert.derp_map(netmap.derp_map)
        convert.dns_config(netmap.dns_config)


@given(
    messages=st.lists(st.binary(min_size=1, max_size=300), max_size=5), compress=st.booleans(), cut=st.integers(1, 99)
)
@settings(max_examples=60)
def test_ok__map_frames_over_any_cut(messages: list[bytes], compress: bool, cut: int) -> None:
    framer, reader = MapFramer(compress=compress), MapStreamReader(compressed=compress)
    stream = b"".join(framer.frame(message) for message in messages)
    received = []
    for start in range(0, len(stream), cut):
        reader.receive_data(stream[start : start + cut])
        while (message := reader.next_message()) is not None:
            received.append(message)
    assert received == messages


@given(data=st.binary(max_size=200), compressed=st.booleans())
@settings(max_examples=100)
def test_fail__random_bytes(data: bytes, compressed: bool) -> None:
    with contextlib.suppress(DecodeError):
        reader = MapStreamReader(compressed=compressed, max_frame=1000, max_message=1000)
        reader.receive_data(data)
        while reader.next_message() is not None:
            pass
    for parse in (parse_request_head, parse_response_head, parse_key_response):
        with contextlib.suppress(DecodeError):
            parse(data)
        with contextlib.suppress(DecodeError):
            parse(b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n")
    with contextlib.suppress(DecodeError):
        parse_handshake(data.decode("latin-1"))


token = st.text("abcXYZ-", min_size=1, max_size=8)


@given(method=token, path=token, headers=st.lists(st.tuples(token, token), max_size=5))
@settings(max_examples=50)
def test_ok__request_head_round_trip(method: str, path: str, headers: list[tuple[str, str]]) -> None:
    parsed = parse_request_head(encode_request_head(method, "/" + path, tuple(headers)) + b"x")
    assert parsed is not None
    assert (parsed[0].method, parsed[0].path) == (method, "/" + path)
    assert parsed[0].headers == tuple((name.lower(), value) for name, value in headers)


def make_pair() -> tuple[ClientTunnel, ServerTunnel]:
    initiator = Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32))
    client = ClientTunnel("h", initiator)
    head = parse_request_head(client.data_to_send())
    assert head is not None
    server = ServerTunnel(SERVER, parse_upgrade(head[0]), ephemeral_seed=bytes(32))
    client.receive_data(ACCEPTED + server.data_to_send())
    server.receive_data(client.data_to_send())
    return client, server


@given(
    frames=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=60)), max_size=6
    )
)
@settings(max_examples=120, deadline=None)
def test_fail__hostile_http2_inside_the_tunnel(frames: list[tuple[int, int, int, bytes]]) -> None:
    """Authenticated but malformed: the machines may fail, never raise."""
    client, server = make_pair()
    plain = b"".join(
        len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body
        for kind, flags, stream, body in frames
    )
    assert client._session is not None
    assert server._session is not None
    client.request("POST", "/x", b"body")
    server.receive_data(client.data_to_send())
    server.receive_data(client._session.writer.seal(plain))
    client.receive_data(server._session.writer.seal(plain))
    for machine in (client, server):
        machine.data_to_send()
        while machine.next_event() is not None:
            pass
    server.respond(1, 200, b"late")
    server.data_to_send()


@given(data=st.binary(max_size=400))
@settings(max_examples=80, deadline=None)
def test_fail__random_answer_to_the_client(data: bytes) -> None:
    initiator = Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32))
    for prefix in (b"", ACCEPTED):
        client = ClientTunnel("h", initiator)
        client.receive_data(prefix + data)
        client.receive_eof()
        while client.next_event() is not None:
            pass
        assert client.failed
