from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from appliance.proto.portmap.pcp import ANNOUNCE, MAP, MapData, Reply, encode_announce, encode_map, parse_reply
from appliance.types.errors import DecodeError, DecodeReason

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/portmap/messages.json").read_text())["pcp"]
CLIENT = IPv4Address(VECTORS["client"])
NONCE = bytes.fromhex(VECTORS["nonce"])
GRANTED = bytes.fromhex(VECTORS["map_reply"])


def test_ok__requests() -> None:
    assert encode_announce(CLIENT).hex() == VECTORS["announce"]
    assert encode_map(CLIENT, NONCE, 41641, 7200).hex() == VECTORS["map_request"]


def test_ok__deletion_names_what_was_given() -> None:
    data = encode_map(CLIENT, NONCE, 41641, 0, external_port=50001, external_address=IPv4Address("203.0.113.5"))
    assert data[4:8] == bytes(4)
    assert data[42:44] == (50001).to_bytes(2, "big")
    assert data[-4:] == bytes((203, 0, 113, 5))


def test_ok__map_reply() -> None:
    mapping = MapData(NONCE, 41641, 50001, IPv4Address("203.0.113.5"))
    assert parse_reply(GRANTED) == Reply(MAP, 0, 7200, 1000, mapping)


def test_ok__announce_and_refusal_without_data() -> None:
    assert parse_reply(GRANTED[:1] + b"\x80" + GRANTED[2:24]) == Reply(ANNOUNCE, 0, 7200, 1000)
    assert parse_reply(GRANTED[:3] + b"\x02" + GRANTED[4:24]) == Reply(MAP, 2, 7200, 1000)


def test_ok__external_ipv6_address_stays_one() -> None:
    reply = parse_reply(GRANTED[:44] + IPv6Address("2001:db8::5").packed)
    assert reply.mapping is not None
    assert reply.mapping.external_address == IPv6Address("2001:db8::5")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GRANTED[:23], DecodeReason.TOO_SHORT),
        (GRANTED[:24], DecodeReason.TOO_SHORT),
        (GRANTED + b"\0", DecodeReason.BAD_LENGTH),
        (GRANTED + bytes(1100), DecodeReason.BAD_LENGTH),
        (b"\1" + GRANTED[1:], DecodeReason.BAD_VERSION),
        (b"\2\1" + GRANTED[2:], DecodeReason.BAD_TYPE),
        (b"\2\x82" + GRANTED[2:], DecodeReason.BAD_TYPE),
        (GRANTED[:36] + b"\6" + GRANTED[37:], DecodeReason.BAD_VALUE),
    ],
)
def test_fail__malformed(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_reply(data)
    assert caught.value.reason == reason


def test_fail__a_nonce_of_another_size() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        encode_map(CLIENT, b"short", 1, 1)
