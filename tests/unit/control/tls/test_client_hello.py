"""First messages of a real TLS library, and hostile ones."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.errors import DecodeError
from control.tls.client_hello import ClientHello, NeedMoreError, parse_client_hello


def first_message(name: str | None, protocols: list[str]) -> bytes:
    """What the library sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


HELLO = first_message("Control.Example", ["acme-tls/1"])


@pytest.mark.parametrize(
    ("name", "protocols"),
    [("Control.Example", ["acme-tls/1"]), (None, []), ("a.example", ["h2", "http/1.1"]), ("192.0.2.1", ["x"])],
)
def test_ok__name_and_protocols(name, protocols):
    shown = "" if name is None or name[0].isdigit() else name.lower()  # no name is sent for an address
    expected = ClientHello(shown, tuple(protocol.encode() for protocol in protocols))
    assert parse_client_hello(first_message(name, protocols)) == expected
    assert parse_client_hello(first_message(name, protocols) + b"more") == expected


def test_fail__cut_at_every_byte():
    for size in range(len(HELLO)):
        with pytest.raises(NeedMoreError):
            parse_client_hello(HELLO[:size])
    for size in range(1, len(HELLO) - 5):  # a record that ends early
        with pytest.raises(DecodeError):
            parse_client_hello(HELLO[:3] + size.to_bytes(2, "big") + HELLO[5 : 5 + size])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x17" * 9])
def test_fail__no_client_hello(data):
    with pytest.raises(DecodeError):
        parse_client_hello(data)


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_fail__any_byte_changed(place, value):
    try:
        parse_client_hello(HELLO[:place] + bytes([value]) + HELLO[place + 1 :])
    except (DecodeError, NeedMoreError):
        return


@given(st.binary(max_size=200))
def test_fail__anything_in_a_record(data):
    try:
        parse_client_hello(b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data)
    except (DecodeError, NeedMoreError):
        return
