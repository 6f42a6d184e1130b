"""STUN against the vectors of derp-stun-netcheck spec 13 and the rules of section 8."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from appliance.proto.stun import (
    encode_request,
    encode_response,
    is_stun,
    parse_foreign_request,
    parse_request,
    parse_response,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "vectors/stun/messages.json").read_text(encoding="utf-8")
)
TX = bytes.fromhex(VECTORS["request"]["tx_id"])
REQUEST = bytes.fromhex(VECTORS["request"]["packet"])


def foreign(attributes: bytes = b"", length: int | None = None) -> bytes:
    """A request as RFC 5389 has it."""
    size = len(attributes) if length is None else length
    return b"\x00\x01" + size.to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TX + attributes


def fingerprinted(message: bytes) -> bytes:
    return message + b"\x80\x28\x00\x04" + (zlib.crc32(message) ^ 0x5354554E).to_bytes(4, "big")


def test_ok__request_vector() -> None:
    assert encode_request(TX) == REQUEST
    assert parse_request(REQUEST) == TX
    assert is_stun(REQUEST)


@pytest.mark.parametrize("vector", VECTORS["responses"], ids=lambda v: v["name"])
def test_ok__response_vector(vector: dict[str, Any]) -> None:
    packet, mapped = bytes.fromhex(vector["packet"]), AddrPort(vector["ip"], vector["port"])
    parsed = parse_response(packet)
    assert (parsed.tx_id.hex(), parsed.mapped) == (vector["tx_id"], mapped)
    assert is_stun(packet)
    if vector["canonical"]:
        assert encode_response(parsed.tx_id, mapped) == packet


def test_ok__server_answers_mapped_clients_as_ipv4() -> None:
    assert encode_response(TX, AddrPort("::ffff:192.0.2.7", 51820)) == encode_response(TX, AddrPort("192.0.2.7", 51820))


def test_ok__request_length_field_is_not_looked_at() -> None:
    assert parse_request(fingerprinted(REQUEST[:2] + b"\x00\x00" + REQUEST[4:32])) == TX


@pytest.mark.parametrize(
    "request_",
    [foreign(), foreign(b"\x80\x22\x00\x03abc\x00"), REQUEST, fingerprinted(foreign(length=8))],
    ids=["bare", "software", "of the field", "fingerprint"],
)
def test_ok__request_of_any_client(request_: bytes) -> None:
    assert parse_foreign_request(request_) == TX


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (foreign()[:19], DecodeReason.TOO_SHORT),
        (foreign(length=4), DecodeReason.BAD_LENGTH),
        (foreign() + b"\x00", DecodeReason.BAD_LENGTH),
        (foreign(b"\x00\x03\x00\x04\x00\x00\x00\x06"), DecodeReason.BAD_VALUE),
        (fingerprinted(foreign(length=8))[:-1] + b"\x00", DecodeReason.BAD_CHECKSUM),
        (foreign(b"\x80\x28\x00\x00\x80\x22\x00\x00"), DecodeReason.BAD_VALUE),
        (b"\x01\x01" + foreign()[2:], DecodeReason.BAD_TYPE),
        (foreign()[:4] + bytes(4) + foreign()[8:], DecodeReason.BAD_MAGIC),
    ],
)
def test_fail__request_of_any_client(packet: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_foreign_request(packet)
    assert caught.value.reason is reason


def test_ok__plain_mapped_address_is_the_fallback() -> None:
    packet = b"\x01\x01\x00\x0c\x21\x12\xa4\x42" + TX + b"\x00\x01\x00\x08\x00\x01\xca\x6c\xc0\x00\x02\x07"
    assert parse_response(packet).mapped == AddrPort("192.0.2.7", 51820)


def test_ok__recognition() -> None:
    assert not is_stun(REQUEST[:19])
    assert not is_stun(b"\x40" + REQUEST[1:])
    assert not is_stun(b"\x00\x02" + REQUEST[2:])
    assert not is_stun(REQUEST[:4] + bytes(4) + REQUEST[8:])


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (REQUEST[:19], DecodeReason.TOO_SHORT),
        (REQUEST[:20], DecodeReason.BAD_VALUE),
        (REQUEST[:32], DecodeReason.BAD_VALUE),
        (REQUEST[:-1], DecodeReason.BAD_LENGTH),
        (REQUEST[:-1] + b"\x00", DecodeReason.BAD_CHECKSUM),
        (b"\x01\x01" + REQUEST[2:], DecodeReason.BAD_TYPE),
        (fingerprinted(REQUEST[:24] + b"tailnodf"), DecodeReason.BAD_VALUE),
        (fingerprinted(REQUEST[:20]), DecodeReason.BAD_VALUE),
        (fingerprinted(REQUEST[:32]) + b"\x80\x22\x00\x00", DecodeReason.BAD_VALUE),
    ],
)
def test_fail__request_is_not_answered(packet: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_request(packet)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("", DecodeReason.BAD_VALUE),
        ("002000080003eb7ee112a645", DecodeReason.BAD_VALUE),
        ("002000060001eb7ee1120000", DecodeReason.BAD_LENGTH),
        ("002000100001eb7ee112a645", DecodeReason.BAD_LENGTH),
    ],
)
def test_fail__response(attributes: str, reason: DecodeReason) -> None:
    body = bytes.fromhex(attributes)
    with pytest.raises(DecodeError) as caught:
        parse_response(b"\x01\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + TX + body)
    assert caught.value.reason is reason
