"""Policy rules as rtnetlink messages (linux/fib_rules.h). Pure.

The payload is struct fib_rule_hdr (12 bytes: family, lengths of destination and source prefix, TOS, table, two unused,
action, u32 flags) and attributes.
"""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6

from appliance.drivers.netlink_messages import attribute, attributes, number
from appliance.ports.netlink import PolicyRule
from appliance.types.errors import DecodeError, DecodeReason

NEW_RULE, DELETE_RULE, GET_RULE = 32, 33, 34
_INPUT, _PRIORITY, _MARK, _SUPPRESS, _TABLE, _MASK, _PROTOCOL = 3, 6, 10, 14, 15, 16, 21
_TO_TABLE, _UNREACHABLE = 1, 7
_NO_SUPPRESS = 0xFFFFFFFF
_INVERT = 2
"""Flag: the rule holds for what its selectors do not match."""
_OWN = b"lo\0"
"""The input device of what this host itself sends."""
_HEAD = struct.Struct("=BBBBBBBBI")
_NUMBER = struct.Struct("=I")


def rule_payload(rule: PolicyRule) -> bytes:
    action = _TO_TABLE if rule.table else _UNREACHABLE
    family = AF_INET if rule.version == 4 else AF_INET6
    flags = _INVERT if rule.forwarded else 0
    made = _HEAD.pack(family, 0, 0, 0, rule.table if rule.table < 256 else 0, 0, 0, action, flags)
    made += attribute(_PRIORITY, _NUMBER.pack(rule.priority)) + attribute(_PROTOCOL, bytes([rule.protocol]))
    if rule.table:
        made += attribute(_TABLE, _NUMBER.pack(rule.table))
    if rule.longer_than >= 0:
        made += attribute(_SUPPRESS, _NUMBER.pack(rule.longer_than))
    if rule.forwarded:
        made += attribute(_INPUT, _OWN)
    if rule.mark:
        made += attribute(_MARK, _NUMBER.pack(rule.mark)) + attribute(_MASK, _NUMBER.pack(rule.mask))
    return made


def all_rules(version: int) -> bytes:
    return _HEAD.pack(AF_INET if version == 4 else AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)


def parse_rule(payload: bytes) -> PolicyRule | None:
    """None for actions that `PolicyRule` cannot say. Raises `DecodeError`."""
    if len(payload) < _HEAD.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "rule message")
    family, _dst, _src, _tos, table, _one, _two, action, flags = _HEAD.unpack_from(payload)
    if action not in (_TO_TABLE, _UNREACHABLE) or family not in (AF_INET, AF_INET6):
        return None
    found = dict(attributes(memoryview(payload)[_HEAD.size :]))
    mark, suppressed = number(found.get(_MARK)), number(found.get(_SUPPRESS), _NO_SUPPRESS)
    return PolicyRule(
        version=6 if family == AF_INET6 else 4,
        priority=number(found.get(_PRIORITY)),
        table=number(found.get(_TABLE), table) if action == _TO_TABLE else 0,
        mark=mark,
        mask=number(found.get(_MASK)) if mark else 0,
        protocol=int.from_bytes(found.get(_PROTOCOL, b"")[:1], "big"),
        longer_than=-1 if suppressed == _NO_SUPPRESS else suppressed,
        forwarded=bool(flags & _INVERT) and bytes(found.get(_INPUT, b"")) == _OWN,
    )
