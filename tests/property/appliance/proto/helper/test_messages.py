"""The helper's parser meets anything: a request or `DecodeError`, never another exception."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.helper.messages import (
    Reboot,
    SetHostname,
    SetResolver,
    SetSysctl,
    encode_message,
    parse_reply,
    parse_request,
)
from appliance.types.errors import DecodeError

REQUESTS = st.one_of(
    st.just(Reboot()),
    st.builds(SetHostname, name=st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")),
    st.builds(
        SetSysctl,
        key=st.from_regex(r"\Anet/[a-z0-9_./-]{1,60}\Z"),
        value=st.from_regex(r"\A[0-9]{1,2}\Z"),
    ),
    st.builds(
        SetResolver,
        nameservers=st.lists(st.sampled_from(["10.0.0.1", "fd00::1", "100.100.100.100"]), max_size=3).map(tuple),
        search=st.lists(st.sampled_from(["a.example", "b"]), max_size=6).map(tuple),
    ),
)


def quiet(data: bytes) -> None:
    for parse in (parse_request, parse_reply):
        try:
            parse(data)
        except DecodeError:
            continue


@given(REQUESTS)
@settings(max_examples=100)
def test_ok__round_trip_and_every_cut(request_):
    data = encode_message(request_)
    assert parse_request(data) == request_
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            parse_request(data[:end])


@given(REQUESTS, st.data())
@settings(max_examples=150)
def test_fail__mutated(request_, data):
    raw = bytearray(encode_message(request_))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    quiet(bytes(raw))


@given(st.binary(max_size=5000))
@settings(max_examples=150)
def test_fail__garbage(data):
    quiet(data)
