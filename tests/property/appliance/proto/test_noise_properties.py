"""Noise: round trip over any cut of the stream; hostile bytes never raise anything but DecodeError."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.noise.handshake import Initiator, Responder
from appliance.proto.noise.records import RecordReader, RecordWriter
from appliance.types.errors import DecodeError
from appliance.types.keys import MachinePrivateKey

KEY = bytes(range(32))
MACHINE = MachinePrivateKey(clamp(bytes(range(32))))
SERVER = MachinePrivateKey(clamp(bytes(range(64, 96))))


@given(parts=st.lists(st.binary(max_size=9000), max_size=6), cuts=st.lists(st.integers(1, 5000), max_size=20))
@settings(max_examples=60)
def test_ok__round_trip_over_any_cut(parts: list[bytes], cuts: list[int]) -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    stream = b"".join(writer.seal(part) for part in parts)
    received = b""
    for cut in cuts:
        received += reader.receive_data(stream[:cut])
        stream = stream[cut:]
    assert received + reader.receive_data(stream) == b"".join(parts)


@given(data=st.binary(max_size=300))
@settings(max_examples=100)
def test_fail__random_bytes(data: bytes) -> None:
    responder = Responder(SERVER, ephemeral_seed=bytes(32))
    with contextlib.suppress(DecodeError):
        responder.receive_initiation(data)
    with contextlib.suppress(DecodeError):
        Initiator(MACHINE, public_key(SERVER), version=1, ephemeral_seed=bytes(32)).receive_response(data)
    with contextlib.suppress(DecodeError):
        RecordReader(KEY).receive_data(data)


@given(position=st.integers(0, 100), bit=st.integers(0, 7))
@settings(max_examples=80)
def test_fail__any_changed_bit_of_the_initiation(position: int, bit: int) -> None:
    initiation = bytearray(Initiator(MACHINE, public_key(SERVER), version=1, ephemeral_seed=bytes(32)).initiation())
    initiation[position] ^= 1 << bit
    refused = False
    try:
        Responder(SERVER, ephemeral_seed=bytes(32)).receive_initiation(bytes(initiation))
    except DecodeError:
        refused = True
    # The top bit of an X25519 point is ignored by RFC 7748, but it is bound by the running hash.
    assert refused
