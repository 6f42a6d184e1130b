from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.proto.portmap.natpmp import (
    AddressReply,
    MapReply,
    encode_address_request,
    encode_map_request,
    parse_reply,
)
from appliance.types.errors import DecodeError, DecodeReason

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/portmap/messages.json").read_text())["natpmp"]
ADDRESS = bytes.fromhex(VECTORS["address_reply"])
MAP = bytes.fromhex(VECTORS["map_reply"])


def test_ok__requests() -> None:
    assert encode_address_request() == b"\0\0"
    assert encode_map_request(41641, 0, 7200).hex() == VECTORS["map_request"]


def test_ok__replies() -> None:
    assert parse_reply(ADDRESS) == AddressReply(0, 1000, IPv4Address("203.0.113.5"))
    assert parse_reply(MAP) == MapReply(0, 1000, 41641, 50001, 7200)


def test_ok__a_router_without_an_address_of_its_own() -> None:
    assert parse_reply(ADDRESS[:8] + bytes(4)) == AddressReply(0, 1000)


@pytest.mark.parametrize("size", [8, 12, 16])
def test_ok__refusals_may_be_short(size: int) -> None:
    refused = MAP[:2] + b"\0\2" + MAP[4:size]
    assert parse_reply(refused) == MapReply(2, 1000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ADDRESS[:7], DecodeReason.TOO_SHORT),
        (ADDRESS[:11], DecodeReason.BAD_LENGTH),
        (MAP + b"\0", DecodeReason.BAD_LENGTH),
        (b"\1" + MAP[1:], DecodeReason.BAD_VERSION),
        (b"\0\x82" + MAP[2:], DecodeReason.BAD_TYPE),
        (b"\0\1" + MAP[2:], DecodeReason.BAD_TYPE),
    ],
)
def test_fail__malformed(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_reply(data)
    assert caught.value.reason == reason
