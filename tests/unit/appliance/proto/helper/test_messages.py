"""Requests and replies of the root helper: what is taken, and that nothing else is."""

import msgspec
import pytest

from appliance.proto.helper.messages import (
    MAX_MESSAGE_BYTES,
    LoadRelay,
    Reboot,
    Reply,
    SetHostname,
    SetResolver,
    SetSysctl,
    encode_message,
    parse_reply,
    parse_request,
    verb_of,
)
from appliance.types.errors import DecodeError, DecodeReason


@pytest.mark.parametrize(
    ("request_", "verb"),
    [
        (SetSysctl(key="net/ipv4/conf/eth0.5/forwarding", value="1"), "set-sysctl"),
        (SetHostname(name="site-1"), "set-hostname"),
        (SetResolver(nameservers=("100.100.100.100", "fd7a:115c:a1e0::53"), search=("mesh.example.",)), "set-resolver"),
        (SetResolver(), "set-resolver"),
        (LoadRelay(port=41642, mark=0x80000), "load-relay"),
        (Reboot(), "reboot"),
    ],
)
def test_ok__round_trip(request_, verb):
    data = encode_message(request_)
    assert parse_request(data) == request_
    assert verb_of(request_) == verb == msgspec.json.decode(data)["verb"]


def test_ok__reply():
    reply = Reply(code="refused", text="no", mend="ask")
    assert parse_reply(encode_message(reply)) == reply
    assert parse_reply(b"{}") == Reply()


@pytest.mark.parametrize(
    "data",
    [
        b'{"verb":"run","command":"id"}',
        b'{"name":"a"}',
        b'{"verb":"reboot","force":true}',
        b'{"verb":"set-hostname","name":""}',
        b'{"verb":"set-hostname","name":"-a"}',
        b'{"verb":"set-hostname","name":"a\\n"}',
        b'{"verb":"set-hostname","name":"a.b"}',
        b'{"verb":"set-hostname","name":"' + b"a" * 64 + b'"}',
        b'{"verb":"set-sysctl","key":"kernel/core_pattern","value":"1"}',
        b'{"verb":"set-sysctl","key":"net/ipv4/ip_forward","value":"1\\n"}',
        b'{"verb":"set-sysctl","key":"net/ipv4/ip_forward","value":1}',
        b'{"verb":"set-sysctl","key":"net/ipv4/ip_forward\\n","value":"1"}',
        b'{"verb":"set-resolver","nameservers":["dns.example"]}',
        b'{"verb":"set-resolver","nameservers":["0.0.0.0"]}',
        b'{"verb":"set-resolver","nameservers":["fe80::1%eth0"]}',
        b'{"verb":"set-resolver","nameservers":["10.0.0.1\\nnameserver 10.0.0.2"]}',
        b'{"verb":"set-resolver","nameservers":["10.0.0.1","10.0.0.2","10.0.0.3","10.0.0.4"]}',
        b'{"verb":"set-resolver","nameservers":["10.0.0.1"],"search":["a b"]}',
        b'{"verb":"set-resolver","nameservers":["10.0.0.1"],"search":["a\\n"]}',
        b"[]",
    ],
)
def test_fail__anything_else(data):
    with pytest.raises(DecodeError) as caught:
        parse_request(data)
    assert caught.value.reason is DecodeReason.BAD_VALUE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DecodeReason.BAD_JSON),
        (b"\xff", DecodeReason.BAD_JSON),
        (b"[" * 4096, DecodeReason.BAD_VALUE),
        (b" " * (MAX_MESSAGE_BYTES + 1), DecodeReason.TOO_LONG),
    ],
)
def test_fail__no_json_or_too_much(data, reason):
    with pytest.raises(DecodeError) as caught:
        parse_request(data)
    assert caught.value.reason is reason
