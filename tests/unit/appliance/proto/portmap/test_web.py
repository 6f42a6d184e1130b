from __future__ import annotations

import pytest

from appliance.proto.portmap.web import MAX_BODY, MAX_REPLY, Reply, encode_request, parse_reply
from appliance.types.errors import DecodeError

HEAD = b"HTTP/1.1 200 OK\r\n"


def test_ok__request() -> None:
    assert encode_request("POST", "/ctl?x", "192.168.1.1:80", (("A", "b"),), b"hi") == (
        b"POST /ctl?x HTTP/1.1\r\nHost: 192.168.1.1:80\r\nUser-Agent: waypost\r\nConnection: close\r\n"
        b"A: b\r\nContent-Length: 2\r\n\r\nhi"
    )


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_ok__whole_before_the_end_and_not_sooner(data: bytes) -> None:
    cuts = [parse_reply(data[:size], ended=False) for size in range(len(data) + 1)]
    assert cuts[-1] == Reply(200, b"hello")
    assert cuts[len(data) - 8] is None


def test_ok__until_the_end() -> None:
    data = b"HTTP/1.0 500 No\r\n\r\nfault"
    assert parse_reply(data, ended=False) is None
    assert parse_reply(data, ended=True) == Reply(500, b"fault")


@pytest.mark.parametrize(
    ("data", "ended"),
    [
        (b"", True),
        (HEAD, True),
        (HEAD + b"Content-Length: 9\r\n\r\nx", True),
        (HEAD + b"Content-Length: 99999999\r\n\r\nx", False),
        (HEAD + b"\r\n" + b"x" * (MAX_BODY + 1), False),
        (b"x" * (MAX_REPLY + 1), False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 80, False),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", False),
    ],
)
def test_fail__replies_that_lie(data: bytes, ended: bool) -> None:
    with pytest.raises(DecodeError):
        parse_reply(data, ended=ended)
