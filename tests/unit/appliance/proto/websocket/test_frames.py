"""WebSocket frames: the RFC's examples, any cut, hostile bytes (RFC 6455 sections 1.3 and 5.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.websocket import (
    CloseCode,
    Message,
    Opcode,
    ServerParser,
    accept_value,
    encode_binary,
    encode_close,
    encode_control,
)
from appliance.proto.websocket.frames import MAX_PAYLOAD
from appliance.types.errors import DecodeError

MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = MASK) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xff" + size.to_bytes(8, "big")
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x80 * final | opcode,)) + length + mask + body


def test_ok__the_rfc_s_examples():
    assert accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert ServerParser().feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(Opcode.TEXT, b"Hello")]
    assert encode_control(Opcode.PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert encode_binary(bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    assert encode_binary(bytes(65536)) == bytes.fromhex("827f0000000000010000") + bytes(65536)
    assert encode_close(CloseCode.POLICY) == bytes.fromhex("880203f0")


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_ok__any_cut_gives_the_same(payloads, step):
    data = b"".join(masked(Opcode.BINARY, payload) for payload in payloads)
    parser, found = ServerParser(), []
    for at in range(0, len(data), step):
        found += parser.feed(data[at : at + step])
    assert [message.payload for message in found] == payloads


def test_ok__fragments_with_a_ping_between():
    data = masked(Opcode.BINARY, b"a", final=False) + masked(Opcode.PING, b"p") + masked(Opcode.CONTINUATION, b"b")
    assert ServerParser().feed(data) == [
        Message(Opcode.BINARY, b"a"),
        Message(Opcode.PING, b"p"),
        Message(Opcode.CONTINUATION, b"b"),
    ]
    assert ServerParser().feed(masked(Opcode.BINARY, bytes(70000)))[0].payload == bytes(70000)


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x01x",
        masked(0x3, b""),
        b"\xc2" + masked(Opcode.BINARY, b"x")[1:],
        masked(Opcode.CONTINUATION, b"x"),
        masked(Opcode.BINARY, b"x", final=False) + masked(Opcode.BINARY, b"y"),
        masked(Opcode.PING, b"x", final=False),
        masked(Opcode.CLOSE, bytes(126)),
        b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
        b"\x82\xff" + (MAX_PAYLOAD + 1).to_bytes(8, "big"),
    ],
)
def test_fail__what_the_rfc_forbids(data):
    with pytest.raises(DecodeError):
        ServerParser().feed(data)


@given(st.binary(max_size=200))
def test_fail__hostile_bytes_raise_nothing_else(data):
    try:
        ServerParser().feed(data)
    except DecodeError:
        return
