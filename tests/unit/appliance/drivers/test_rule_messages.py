"""Policy rule messages, byte by byte."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.drivers.rule_messages import all_rules, parse_rule, rule_payload
from appliance.ports.netlink import PolicyRule
from appliance.types.errors import DecodeError

RULES = (
    PolicyRule(4, 5210, 254, 0x80000, 0xFF0000),
    PolicyRule(6, 5250, 0, 0x80000, 0xFF0000),
    PolicyRule(4, 5270, 52),
    PolicyRule(6, 5271, 1000, protocol=3, longer_than=0),
    PolicyRule(6, 5428, 254, longer_than=63),
    PolicyRule(4, 5280, 55, forwarded=True),
)


def test_ok__layout() -> None:
    made = rule_payload(RULES[2])
    assert made[:12] == bytes([2, 0, 0, 0, 52, 0, 0, 1]) + bytes(4)
    assert made[12:] == struct.pack("=HHI", 8, 6, 5270) + bytes([5, 0, 21, 0, 87, 0, 0, 0]) + struct.pack(
        "=HHI", 8, 15, 52
    )
    assert all_rules(6) == bytes([10]) + bytes(11)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_ok__read_back(rule: PolicyRule) -> None:
    assert parse_rule(rule_payload(rule)) == rule


def test_ok__what_this_host_does_not_send_itself() -> None:
    made = rule_payload(RULES[5])
    assert made[8:12] == struct.pack("=I", 2), "inverted"
    assert struct.pack("=HH", 7, 3) + b"lo\0\0" in made


def test_ok__actions_that_are_not_ours() -> None:
    nothing = bytearray(rule_payload(RULES[2]))
    nothing[7] = 6
    assert parse_rule(bytes(nothing)) is None


@given(st.binary(max_size=60))
def test_fail__garbage(noise: bytes) -> None:
    for payload in (noise, rule_payload(RULES[2])[:12] + noise):
        try:
            parse_rule(payload)
        except DecodeError:
            continue
