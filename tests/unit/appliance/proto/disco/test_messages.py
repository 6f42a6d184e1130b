"""Inner disco messages against the vectors and the rules of magicsock-disco spec 1.2 and 1.3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.proto.disco import (
    AllocateRelayEndpointRequest,
    AllocateRelayEndpointResponse,
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    CallMeMaybe,
    CallMeMaybeVia,
    Message,
    Ping,
    Pong,
    RelayEndpoint,
    encode_message,
    parse_message,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPublicKey, NodePublicKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "vectors/disco/messages.json").read_text(encoding="utf-8")
)
TX = bytes(range(1, 13))
LOW, HIGH = DiscoPublicKey(b"\x01" * 32), DiscoPublicKey(b"\xfe" * 32)
RELAY = RelayEndpoint(
    DiscoPublicKey(b"\x07" * 32), (LOW, HIGH), 123, 456, 10**9, 60 * 10**9, (AddrPort("192.0.2.1", 40000),)
)
BINDING = (7, 9, LOW, b"\x55" * 32)
ALL: list[Message] = [
    Ping(TX, NodePublicKey(b"\x09" * 32), 4),
    Ping(TX),
    Pong(TX, AddrPort("2001:db8::1", 1)),
    CallMeMaybe((AddrPort("192.0.2.1", 65535), AddrPort("2001:db8::1", 0))),
    BindRelayEndpoint(*BINDING),
    BindRelayEndpointChallenge(*BINDING),
    BindRelayEndpointAnswer(*BINDING),
    CallMeMaybeVia(RELAY),
    AllocateRelayEndpointRequest((HIGH, LOW), 0xFFFFFFFF),
    AllocateRelayEndpointResponse(3, RELAY),
]


@pytest.mark.parametrize("message", ALL, ids=lambda m: type(m).__name__)
def test_ok__round_trip(message: Message) -> None:
    assert parse_message(encode_message(message)) == message


def test_ok__types_are_numbered_as_specified() -> None:
    assert [encode_message(message)[0] for message in ALL] == [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_ok__pong_vector() -> None:
    vector = VECTORS["pong"]
    pong = Pong(bytes.fromhex(vector["tx_id"]), AddrPort(vector["ip"], vector["port"]))
    assert encode_message(pong).hex() == vector["payload"]


@pytest.mark.parametrize("vector", VECTORS["call_me_maybe"], ids=["two", "none", "swapped"])
def test_ok__call_me_maybe_vector(vector: dict[str, Any]) -> None:
    message = CallMeMaybe(tuple(AddrPort(*endpoint) for endpoint in vector["endpoints"]))
    assert encode_message(message).hex() == vector["payload"]
    assert parse_message(bytes.fromhex(vector["payload"])) == message


def test_ok__relay_endpoint_numbers_vector() -> None:
    assert encode_message(CallMeMaybeVia(RELAY))[2 + 96 : 2 + 124].hex() == VECTORS["relay_numbers"]["bytes"]


def test_ok__relay_clients_are_a_set_on_the_wire() -> None:
    swapped = CallMeMaybeVia(RelayEndpoint(RELAY.server, (HIGH, LOW), 123, 456, 10**9, 60 * 10**9, RELAY.addresses))
    assert encode_message(swapped) == encode_message(CallMeMaybeVia(RELAY))


@pytest.mark.parametrize("message", ALL, ids=lambda m: type(m).__name__)
def test_ok__trailing_bytes_only_where_tolerated(message: Message) -> None:
    payload = encode_message(message)
    if payload[0] in (7, 9):
        with pytest.raises(DecodeError):
            parse_message(payload + b"x")
    elif payload[0] == 3:
        assert parse_message(payload + b"x") == CallMeMaybe()
    elif payload[0] != 1:
        assert parse_message(payload + b"x") == message


@pytest.mark.parametrize("message", ALL, ids=lambda m: type(m).__name__)
def test_ok__another_version_has_effect_only_where_specified(message: Message) -> None:
    payload = bytearray(encode_message(message))
    payload[1] = 1
    if payload[0] in (3, 7, 8, 9):
        with pytest.raises(DecodeError) as caught:
            parse_message(bytes(payload))
        assert caught.value.reason is DecodeReason.BAD_VERSION
    else:
        assert parse_message(bytes(payload)) == message


def test_ok__padding_without_key_is_read_as_a_key() -> None:
    assert parse_message(encode_message(Ping(TX, None, 32))) == Ping(TX, NodePublicKey.zero(), 0)


def test_fail__unknown_type() -> None:
    with pytest.raises(DecodeError) as caught:
        parse_message(b"\x0a\x00")
    assert caught.value.reason is DecodeReason.BAD_TYPE


def test_fail__relay_endpoint_without_address_has_no_wire_form() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        encode_message(CallMeMaybeVia(RelayEndpoint(LOW, (LOW, HIGH), 1, 1, 1, 1, ())))
    with pytest.raises(DecodeError):
        parse_message(encode_message(CallMeMaybeVia(RELAY))[:-18])
