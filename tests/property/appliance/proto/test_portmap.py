"""What routers say under hostile input: round trip, truncation at every byte, mutation; nothing but `DecodeError`."""

from __future__ import annotations

import contextlib
import json
from ipaddress import IPv4Address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.portmap import igd, natpmp, pcp, ssdp
from appliance.proto.portmap.markup import parse_markup
from appliance.proto.portmap.web import Reply, encode_request, parse_reply
from appliance.types.errors import DecodeError

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/portmap/messages.json").read_text())
REPLIES = [
    bytes.fromhex(VECTORS["natpmp"]["address_reply"]),
    bytes.fromhex(VECTORS["natpmp"]["map_reply"]),
    bytes.fromhex(VECTORS["pcp"]["map_reply"]),
]
PARSERS = (natpmp.parse_reply, pcp.parse_reply, ssdp.parse_answer, parse_markup)
ports = st.integers(1, 65535)
addresses = st.ip_addresses(v=4)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F), max_size=40)


def parse_all(data: bytes) -> None:
    for parser in PARSERS:
        with contextlib.suppress(DecodeError):
            parser(data)
    for ended in (False, True):
        with contextlib.suppress(DecodeError):
            parse_reply(data, ended=ended)


@given(st.binary(max_size=200))
def test_ok__any_bytes(data: bytes) -> None:
    parse_all(data)


@given(st.sampled_from(REPLIES), st.integers(0, 60), st.integers(0, 255))
def test_ok__cut_and_changed_replies(data: bytes, at: int, value: int) -> None:
    parse_all(data[:at])
    parse_all(data[:at] + bytes((value,)) + data[at + 1 :])


@given(addresses, st.binary(min_size=12, max_size=12), ports, ports, addresses, st.integers(0, 2**32 - 1))
def test_ok__a_request_turned_into_its_reply(
    client: IPv4Address, nonce: bytes, internal: int, external: int, outside: IPv4Address, lifetime: int
) -> None:
    request = pcp.encode_map(client, nonce, internal, lifetime, external_port=external, external_address=outside)
    reply = pcp.parse_reply(bytes((2, 0x81, 0, 0)) + request[4:8] + bytes(16) + request[24:])
    assert reply.mapping == pcp.MapData(nonce, internal, external, outside)
    assert reply.lifetime_s == lifetime


@given(ports, st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=50))
def test_ok__a_location_gives_its_own_place_or_none(port: int, path: str) -> None:
    with contextlib.suppress(DecodeError):
        place = igd.parse_location(f"http://192.168.1.1:{port}/{path}")
        assert place.port == port
        request = igd.encode_get(IPv4Address("192.168.1.1"), place)
        assert request.count(b"\r\n\r\n") == 1
        assert request.split(b"\r\n")[1] == f"Host: 192.168.1.1:{port}".encode()


@given(st.lists(st.tuples(st.sampled_from(["A", "B"]), printable), max_size=4))
def test_ok__arguments_survive_the_way_through_markup(arguments: list[tuple[str, str]]) -> None:
    service = igd.Service(igd.IP_V2, igd.Place(80, "/c"))
    request = igd.encode_action(IPv4Address("192.168.1.1"), service, "Act", arguments)
    body = request.partition(b"\r\n\r\n")[2]
    found = parse_markup(body).children[0].children[0]
    assert [(child.name, child.text) for child in found.children] == [(name, text.strip()) for name, text in arguments]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_ok__chunks_are_joined(body: bytes, size: int) -> None:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parse_reply(head + coded, ended=False) == Reply(200, body)
    assert encode_request("GET", "/", "h").endswith(b"\r\n\r\n")
