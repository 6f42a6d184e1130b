"""Disco, STUN and Geneve under hostile input: round trip, truncation at every byte, mutation."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.disco import (
    AllocateRelayEndpointRequest,
    AllocateRelayEndpointResponse,
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    CallMeMaybe,
    CallMeMaybeVia,
    DiscoKeys,
    Message,
    Ping,
    Pong,
    RelayEndpoint,
    classify,
    encode_message,
    parse_message,
)
from appliance.proto.geneve import PROTOCOL_DISCO, PROTOCOL_WIREGUARD, GeneveHeader, encode_header, parse_header
from appliance.proto.stun import (
    encode_request,
    encode_response,
    encode_train_request,
    parse_foreign_request,
    parse_request,
    parse_response,
    parse_train_request,
)
from appliance.types.addresses import AddrPort, addr_port_from
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey, NodePublicKey

raw_keys = st.binary(min_size=32, max_size=32)
disco_keys = raw_keys.map(DiscoPublicKey)
tx_ids = st.binary(min_size=12, max_size=12)
endpoints = st.builds(addr_port_from, st.ip_addresses(), st.integers(0, 65535))
u32 = st.integers(0, 2**32 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
pairs = st.tuples(disco_keys, disco_keys)
relay_endpoints = st.builds(
    RelayEndpoint,
    disco_keys,
    pairs.map(lambda pair: (min(pair), max(pair))),
    st.integers(0, 2**64 - 1),
    u32,
    i64,
    i64,
    st.lists(endpoints, min_size=1, max_size=4).map(tuple),
)
bindings = (u32, u32, disco_keys, raw_keys)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, tx_ids, raw_keys.map(NodePublicKey), st.integers(0, 1200)),
    st.builds(Pong, tx_ids, endpoints),
    st.builds(CallMeMaybe, st.lists(endpoints, max_size=12).map(tuple)),
    st.builds(BindRelayEndpoint, *bindings),
    st.builds(BindRelayEndpointChallenge, *bindings),
    st.builds(BindRelayEndpointAnswer, *bindings),
    st.builds(CallMeMaybeVia, relay_endpoints),
    st.builds(AllocateRelayEndpointRequest, pairs, u32),
    st.builds(AllocateRelayEndpointResponse, u32, relay_endpoints),
)
OURS, THEIRS = DiscoKeys(DiscoPrivateKey(b"\x08" * 32)), DiscoKeys(DiscoPrivateKey(b"\x10" * 32), capacity=16)


def parse_all(data: bytes) -> None:
    for parse in (parse_message, parse_request, parse_response, parse_header, THEIRS.open):
        with contextlib.suppress(DecodeError):
            parse(data)
    classify(data)


def parse_stun(data: bytes) -> None:
    parse_all(data)
    for parse in (parse_foreign_request, parse_train_request):
        with contextlib.suppress(DecodeError):
            parse(data)


@given(messages)
def test_ok__disco_round_trip(message: Message) -> None:
    assert parse_message(encode_message(message)) == message


@given(messages, st.binary(min_size=24, max_size=24))
def test_ok__disco_sealed_round_trip(message: Message, nonce: bytes) -> None:
    assert THEIRS.open(OURS.seal(THEIRS.public, message, nonce)) == (OURS.public, message)


@settings(max_examples=50)
@given(messages)
def test_ok__disco_truncated_never_raises_another_error(message: Message) -> None:
    payload = encode_message(message)
    for size in range(min(len(payload), 300)):
        parse_all(payload[:size])


@given(messages, st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_ok__disco_mutated_never_raises_another_error(message: Message, at: int, patch: bytes) -> None:
    payload = bytearray(encode_message(message))
    at %= len(payload)
    payload[at : at + len(patch)] = patch
    parse_all(bytes(payload))


@given(st.binary(max_size=200))
def test_ok__noise_never_raises_another_error(data: bytes) -> None:
    parse_all(data)


@given(tx_ids, endpoints)
def test_ok__stun_round_trip_and_truncation(tx_id: bytes, mapped: AddrPort) -> None:
    response = encode_response(tx_id, mapped)
    parsed = parse_response(response)
    assert (parsed.tx_id, parsed.mapped) == (tx_id, mapped)
    for packet in (encode_request(tx_id), encode_train_request(tx_id, b"t" * 16, 9), response):
        for size in range(len(packet)):
            parse_stun(packet[:size])


@given(tx_ids, st.booleans(), st.integers(0, 43), st.integers(0, 255))
def test_ok__stun_mutated_never_raises_another_error(tx_id: bytes, request: bool, at: int, value: int) -> None:

    packet = bytearray(encode_request(tx_id) if request else encode_response(tx_id, AddrPort("2001:db8::1", 9)))
    packet[at % len(packet)] = value
    parse_stun(bytes(packet))


@given(st.sampled_from([PROTOCOL_DISCO, PROTOCOL_WIREGUARD]), st.integers(0, 2**24 - 1), st.booleans())
def test_ok__geneve_round_trip(protocol: int, vni: int, control: bool) -> None:
    header = GeneveHeader(protocol, vni, control)
    assert parse_header(encode_header(header)) == header
