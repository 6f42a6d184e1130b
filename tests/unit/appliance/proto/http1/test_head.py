"""Heads: what is read, what is refused."""

import pytest

from appliance.proto.http1.head import (
    MAX_HEAD_SIZE,
    encode_request_head,
    encode_response,
    parse_request_head,
    parse_response_head,
)
from appliance.types.errors import DecodeError, DecodeReason

HEAD = (
    b"POST /ts2021?v=130&h=a%2Bb+c HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
    b"UPGRADE:  WebSocket \r\nContent-Length: 0\r\n\r\n"
)


def test_ok__request_with_leftover() -> None:
    parsed = parse_request_head(HEAD + b"rest")
    assert parsed is not None
    head, size = parsed
    assert size == len(HEAD)
    assert (head.method, head.path, head.query("v"), head.query("h")) == ("POST", "/ts2021", "130", "a+b+c")
    assert head.header("upgrade") == "WebSocket"
    assert head.tokens("connection") == {"keep-alive", "upgrade"}
    assert head.content_length() == 0
    assert head.keep_alive


def test_ok__incomplete_head_waits() -> None:
    for size in range(len(HEAD)):
        assert parse_request_head(HEAD[:size]) is None


def test_ok__response() -> None:
    parsed = parse_response_head(encode_response(404, b"no", "text/plain", ("X-A", "b")))
    assert parsed is not None
    head = parsed[0]
    assert (head.status, head.reason, head.header("x-a"), head.content_length()) == (404, "Not Found", "b", 2)
    assert encode_response(204, b"")[-4:] == b"\r\n\r\n"


def test_ok__absolute_target() -> None:
    parsed = parse_request_head(b"GET http://a.example/key?v=1 HTTP/1.1\r\n\r\n")
    assert parsed is not None
    assert parsed[0].path == "/key"
    assert parsed[0].query("v") == "1"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/2.0\r\n\r\n", DecodeReason.BAD_VERSION),
        (b"G(T / HTTP/1.1\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/1.1\r\nA b\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", DecodeReason.BAD_TEXT),
        (b"GET / HTTP/1.1\nA: b\n\n" + bytes(MAX_HEAD_SIZE), DecodeReason.TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", DecodeReason.TOO_LONG),
    ],
)
def test_fail__malformed_head(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_request_head(data)
    assert caught.value.reason is reason


@pytest.mark.parametrize("lines", [b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: -1"])
def test_fail__contradictory_length(lines: bytes) -> None:
    parsed = parse_request_head(b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\n")
    assert parsed is not None
    with pytest.raises(DecodeError):
        parsed[0].content_length()


def test_fail__header_injection() -> None:
    with pytest.raises(ValueError, match="bad header"):
        encode_request_head("GET", "/", (("A", "b\r\nC: d"),))
