"""TSMP under hostile input: round trip, truncation at every byte, mutation."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.tsmp import (
    DiscoAdvertisement,
    Message,
    Packet,
    Ping,
    Pong,
    Rejected,
    encode_packet,
    parse_message,
    parse_packet,
)
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPublicKey

byte, port = st.integers(0, 255), st.integers(0, 65535)
data = st.binary(min_size=8, max_size=8)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(DiscoAdvertisement, st.binary(min_size=32, max_size=32).filter(any).map(DiscoPublicKey)),
    st.builds(Ping, data),
    st.builds(Pong, data, port),
    st.builds(Rejected, byte, byte, port, port, st.booleans()),
)
packets = st.one_of(
    st.builds(Packet, st.ip_addresses(v=4), st.ip_addresses(v=4), messages),
    st.builds(Packet, st.ip_addresses(v=6), st.ip_addresses(v=6), messages),
)


@given(packets)
@settings(max_examples=150)
def test_ok__round_trip(packet: Packet) -> None:
    assert parse_packet(encode_packet(packet)) == packet
    assert parse_packet(memoryview(encode_packet(packet))) == packet


@given(packets)
@settings(max_examples=30)
def test_fail__truncated_anywhere(packet: Packet) -> None:
    whole = encode_packet(packet)
    for size in range(len(whole)):
        with pytest.raises(DecodeError):
            parse_packet(whole[:size])


@given(packets, st.data())
@settings(max_examples=200)
def test_ok__mutation_raises_nothing_else(packet: Packet, draw: st.DataObject) -> None:
    mutated = bytearray(encode_packet(packet))
    for _ in range(draw.draw(st.integers(1, 6))):
        mutated[draw.draw(st.integers(0, len(mutated) - 1))] = draw.draw(byte)
    with contextlib.suppress(DecodeError):
        parse_packet(bytes(mutated))


@given(st.binary(max_size=80))
@settings(max_examples=150)
def test_ok__noise_raises_nothing_else(noise: bytes) -> None:
    for parse in (parse_packet, parse_message):
        with contextlib.suppress(DecodeError):
            parse(noise)
