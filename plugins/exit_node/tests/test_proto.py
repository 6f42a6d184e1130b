from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.addresses import AddrPort, addr_port_from
from appliance.types.errors import DecodeError
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proto import ConnectHandshake, SocksHandshake, encode_datagram_head, parse_datagram

V4, V6 = AddrPort("203.0.113.2", 443), AddrPort("2001:db8::2", 80)
REQUEST_V4 = bytes.fromhex("05010001 cb007102 01bb")
REQUEST_V6 = bytes.fromhex("05010004 20010db8000000000000000000000002 0050")
GRANTED = bytes.fromhex("05000001 00000000 0000")


def talk(handshake: SocksHandshake | ConnectHandshake, answers: bytes) -> bytes:
    """What is sent in all, when the answers come byte by byte."""
    sent = handshake.start()
    for byte in answers:
        sent += handshake.receive(bytes([byte]))
    return sent


@pytest.mark.parametrize(("target", "request_bytes"), [(V4, REQUEST_V4), (V6, REQUEST_V6)])
def test_ok__socks_without_credentials(target: AddrPort, request_bytes: bytes) -> None:
    """RFC 1928 sections 3 to 6."""
    handshake = SocksHandshake(target)
    assert talk(handshake, b"\5\0" + GRANTED) == b"\5\1\0" + request_bytes
    assert handshake.done


def test_ok__socks_with_credentials() -> None:
    """RFC 1929 section 2."""
    handshake = SocksHandshake(V4, ("ann", "secret"))
    assert talk(handshake, b"\5\2\1\0" + GRANTED) == b"\5\2\0\2" + b"\1\3ann\6secret" + REQUEST_V4
    assert handshake.done


@pytest.mark.parametrize("bound", [b"\1" + bytes(4), b"\4" + bytes(16), b"\3\5proxy"])
def test_ok__what_comes_beyond_the_answer_is_kept(bound: bytes) -> None:
    handshake = SocksHandshake(V4)
    handshake.receive(b"\5\0")
    handshake.receive(b"\5\0\0" + bound + b"\0\0" + b"hello")
    assert (handshake.done, handshake.rest) == (True, b"hello")


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (b"\5\xff", "credentials"),
        (b"\5\2", "credentials"),
        (b"\5\0\5\2\0\1\0", "not allowed"),
        (b"\5\0\5\x63\0\1\0", "error 99"),
    ],
)
def test_fail__socks_refuses(answers: bytes, text: str) -> None:
    with pytest.raises(ProxyRefusedError, match=text):
        talk(SocksHandshake(V4), answers)


def test_fail__wrong_credentials() -> None:
    with pytest.raises(ProxyRefusedError, match="refuses the credentials"):
        talk(SocksHandshake(V4, ("ann", "wrong")), b"\5\2\1\1")


@pytest.mark.parametrize("answers", [b"\4\0", b"\5\0\4\0\0\1\0", b"\5\0\5\0\0\7\0"])
def test_fail__not_socks(answers: bytes) -> None:
    with pytest.raises(DecodeError):
        talk(SocksHandshake(V4), answers)


def test_ok__connect() -> None:
    handshake = ConnectHandshake(V6, ("ann", "secret"))
    sent = talk(handshake, b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello")
    assert sent == (
        b"CONNECT [2001:db8::2]:80 HTTP/1.1\r\nHost: [2001:db8::2]:80\r\n"
        b"Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
    )
    assert handshake.done


def test_ok__what_comes_beyond_the_head_is_kept() -> None:
    handshake = ConnectHandshake(V4)
    handshake.receive(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert (handshake.done, handshake.rest) == (True, b"hello")


def test_fail__connect_refused() -> None:
    with pytest.raises(ProxyRefusedError, match="407"):
        talk(ConnectHandshake(V4), b"HTTP/1.1 407 No\r\n\r\n")


@given(st.binary(max_size=300), st.sampled_from(["connect", "associate", "http"]))
def test_ok__hostile_proxies_end_in_known_errors(data: bytes, kind: str) -> None:
    socks = SocksHandshake(V4 if kind == "connect" else None, ("a", "b"))
    handshake = ConnectHandshake(V4) if kind == "http" else socks
    try:
        handshake.receive(data)
    except (DecodeError, ProxyRefusedError):
        assert not handshake.done


def test_ok__an_association_for_udp() -> None:
    """RFC 1928 sections 4 and 6."""
    handshake = SocksHandshake(None)
    assert talk(handshake, b"\5\0" + bytes.fromhex("05000001 c0000209 9c41")) == bytes.fromhex(
        "050100 05030001 00000000 0000"
    )
    assert handshake.bound == AddrPort("192.0.2.9", 40001)


def test_ok__a_name_is_no_place_for_datagrams() -> None:
    handshake = SocksHandshake(None)
    talk(handshake, b"\5\0\5\0\0\3\5proxy\x9c\x41")
    assert (handshake.done, handshake.bound) == (True, None)


def test_fail__no_association() -> None:
    with pytest.raises(ProxyRefusedError, match="command not supported"):
        talk(SocksHandshake(None), b"\5\0\5\7\0\1\0")


@pytest.mark.parametrize(
    ("source", "datagram"),
    [
        (V4, bytes.fromhex("0000 00 01 cb007102 01bb") + b"hello"),
        (V6, bytes.fromhex("0000 00 04 20010db8000000000000000000000002 0050") + b"hello"),
    ],
)
def test_ok__datagrams(source: AddrPort, datagram: bytes) -> None:
    """RFC 1928 section 7."""
    assert encode_datagram_head(source) + b"hello" == datagram
    assert parse_datagram(datagram) == (source, b"hello")
    for size in range(len(datagram) - len(b"hello")):
        with pytest.raises(DecodeError):
            parse_datagram(datagram[:size])


@pytest.mark.parametrize("datagram", ["0000 01 01 cb007102 01bb", "0000 00 03 0141 01bb", "0000 00 09 00000000 0000"])
def test_fail__fragments_names_and_nonsense(datagram: str) -> None:
    with pytest.raises(DecodeError):
        parse_datagram(bytes.fromhex(datagram))


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=100))
def test_ok__datagrams_come_back(address: IPv4Address | IPv6Address, port: int, payload: bytes) -> None:
    goal = addr_port_from(address, port)
    assert parse_datagram(encode_datagram_head(goal) + payload) == (goal, payload)


@given(st.binary(max_size=40))
def test_ok__hostile_datagrams_end_in_known_errors(data: bytes) -> None:
    for each in (data, b"\0\0\0\1" + data, b"\0\0\0\4" + data):
        try:
            source, payload = parse_datagram(each)
        except DecodeError:
            continue
        assert each.endswith(payload)
        assert source.address.version in (4, 6)
