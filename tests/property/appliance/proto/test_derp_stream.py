"""The DERP frame parser under any cut, truncation and mutation of its stream."""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.derp.client import ClientState, DerpClient
from appliance.proto.derp.frames import (
    ForwardPacket,
    Frame,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    PeerPresent,
    Ping,
    Pong,
    RecvPacket,
    Restarting,
    SendPacket,
    encode_frame,
    parse_frame,
)
from appliance.proto.derp.handshake import parse_client_info, parse_server_info
from appliance.proto.derp.parser import FrameParser
from appliance.proto.derp.server import HandshakeState, ServerHandshake
from appliance.proto.derp.upgrade import upgrade_response
from appliance.types.addresses import addr_port_from
from appliance.types.errors import DecodeError
from appliance.types.keys import DerpPrivateKey, DerpPublicKey, NodePrivateKey, NodePublicKey

keys = st.binary(min_size=32, max_size=32).map(NodePublicKey)
packets = st.binary(max_size=300)
eight = st.binary(min_size=8, max_size=8)
u32 = st.integers(0, 2**32 - 1)
addresses = st.builds(addr_port_from, st.ip_addresses(), st.integers(0, 65535))
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SendPacket, keys, packets),
    st.builds(RecvPacket, keys, packets),
    st.builds(ForwardPacket, keys, keys, packets),
    st.just(KeepAlive()),
    st.builds(NotePreferred, st.booleans()),
    st.builds(PeerGone, keys, st.integers(0, 255)),
    st.builds(PeerPresent, keys, addresses, st.integers(1, 255)),
    st.builds(Ping, eight),
    st.builds(Pong, eight),
    st.builds(Health, st.text(max_size=40)),
    st.builds(Restarting, u32, u32),
)
unknown = st.builds(
    lambda kind, body: bytes((kind,)) + len(body).to_bytes(4, "big") + body, st.integers(0x40, 255), packets
)
streams = st.lists(st.one_of(frames, unknown), max_size=12)
cuts = st.lists(st.integers(0, 4000), max_size=20)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return [data[low:high] for low, high in itertools.pairwise(bounds)]


def feed_all(data: bytes, at: list[int]) -> list[Frame]:
    parser = FrameParser()
    return [parse_frame(*frame) for piece in pieces(data, at) for frame in parser.feed(piece)]


@given(streams, cuts)
def test_ok__any_cut_gives_the_same_frames(items: list[Frame | bytes], at: list[int]) -> None:
    data = b"".join(item if isinstance(item, bytes) else encode_frame(item) for item in items)
    assert feed_all(data, at) == [item for item in items if not isinstance(item, bytes)]


@settings(max_examples=50)
@given(frames, frames)
def test_ok__truncated_stream_gives_whole_frames_only(first: Frame, second: Frame) -> None:
    head, data = encode_frame(first), encode_frame(first) + encode_frame(second)
    for size in range(len(data)):
        assert feed_all(data[:size], []) == ([first] if size >= len(head) else [])


@given(streams, cuts, st.integers(0, 10**6), st.integers(0, 255))
def test_ok__mutated_stream_raises_no_other_error(
    items: list[Frame | bytes], at: list[int], where: int, value: int
) -> None:
    data = bytearray(b"".join(item if isinstance(item, bytes) else encode_frame(item) for item in items) or b"\x00")
    data[where % len(data)] = value
    with contextlib.suppress(DecodeError):
        feed_all(bytes(data), at)


@given(st.binary(max_size=400), cuts)
def test_ok__noise_never_escapes_a_machine(data: bytes, at: list[int]) -> None:
    server = ServerHandshake(DerpPrivateKey(b"\x20" * 32), 0.0, answer_upgrade=True)
    client = DerpClient(NodePrivateKey(b"\x10" * 32), "derp.example", bytes(24), 0.0)
    greeted = DerpClient(NodePrivateKey(b"\x10" * 32), "derp.example", bytes(24), 0.0)
    greeted.receive_data(upgrade_response(DerpPublicKey(b"\x09" * 32)), 0.0)
    for piece in pieces(data, at):
        server.receive_data(piece)
        client.receive_data(piece, 0.0)
        greeted.receive_data(piece, 0.0)
    assert server.state in HandshakeState
    assert client.state is not ClientState.OPEN
    for parse in (parse_client_info, parse_server_info):
        with contextlib.suppress(DecodeError):
            parse(data)


def test_ok__unknown_payload_is_not_kept() -> None:
    parser = FrameParser()
    assert parser.feed(b"\x77\x00\x10\x00\x00") == []
    for _ in range(16):
        assert parser.feed(bytes(65536)) == []
        assert parser.buffered == 0
    assert parser.feed(encode_frame(KeepAlive())) == [(6, b"")]
