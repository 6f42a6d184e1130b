"""Hostile certificates: never an exception other than DecodeError."""

from base64 import b64decode
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.drivers.certificates import parse_certificate
from appliance.types.errors import DecodeError

CERTIFICATE = b64decode(
    "MIIBUjCB+aADAgECAhQbCm51Zjs1sSalEtDkm/5+GBZrBDAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZzZXJ2ZXIwHhcNMjYxMTE5"
    "MTEzNzAxWhcNMjYxMTIyMTEzNzAxWjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ+I8RouTWr"
    "s1POQy6QSQzODl0Gr2iRjGG3RmwNNRP5gvPTGwX923T5TpzcUm8NTbiJZDf8Lu6zVzU9E2SVqNGUoy8wLTAPBgNVHRMBAf8EBTAD"
    "AQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEwAACATAKBggqhkjOPQQDAgNIADBFAiEAxzoNz1F8LgvRx1UvN+2DaKEM+A+2qX60"
    "Adb/5HMAtPgCIEYBI6UEjcBw9YPr8AKJpQTW09uUEgviNTQ1oQs86vJ+"
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_ok__random_bytes(data):
    with suppress(DecodeError):
        parse_certificate(data)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_ok__mutations(changes):
    mutated = bytearray(CERTIFICATE)
    for at, value in changes:
        mutated[at] = value
    with suppress(DecodeError):
        parse_certificate(bytes(mutated))


def test_ok__the_sample_itself():
    assert parse_certificate(CERTIFICATE).names == ("localhost", "192.0.2.1")
