"""Private disco message between our own nodes: crossing a hard NAT together (magicsock-disco spec 4.3).

Other implementations ignore unknown types (1.3). Type 0xE0, version 0, DERP only, big-endian:

| Offset | Length | Field |
|---|---|---|
| 0 | 1 | step: 1 offer, 2 accept, 3 opened, 4 stop |
| 1 | 8 | id of the attempt, chosen by who offers |
| 9 | 1 | mapping: 0 unknown, 1 endpoint-independent, 2 address-dependent, 3 address and port-dependent |
| 10 | 1 | port rule: 0 unknown, 1 preserving, 2 sequential, 3 block, 4 random |
| 11 | 1 | ports between two mappings of a sequential NAT, signed |
| 12 | 2 | mappings of others a second, in sixteenths, at most 4095 |
| 14 | 2 | lowest port of the pool |
| 16 | 2 | highest port of the pool |
| 18 | 2 | last port seen |
| 20 | 18 | EP18: external address and port of the main socket |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason

HARD_NAT_TYPE = 0xE0
ATTEMPT_ID_SIZE = 8
_HEAD = struct.Struct(">B8sBBbHHHH")
_SIZE = _HEAD.size
_RATE_UNIT = 16


class NatMapping(IntEnum):
    """RFC 4787 section 4.1."""

    UNKNOWN = 0
    ENDPOINT_INDEPENDENT = 1
    ADDRESS_DEPENDENT = 2
    ADDRESS_AND_PORT_DEPENDENT = 3


class PortRule(IntEnum):
    """How external ports are chosen. BLOCK: by chance within the few that the provider gave the subscriber."""

    UNKNOWN = 0
    PRESERVING = 1
    SEQUENTIAL = 2
    BLOCK = 3
    RANDOM = 4


class HardNatStep(IntEnum):
    OFFER = 1
    ACCEPT = 2
    OPENED = 3
    STOP = 4


@dataclass(frozen=True, slots=True)
class NatClass:
    """A NAT as its node found it. `rate`: mappings of others a second; `low`, `high`: the pool; `last`: port seen."""

    mapping: NatMapping = NatMapping.UNKNOWN
    rule: PortRule = PortRule.UNKNOWN
    address: str = "0.0.0.0"  # noqa: S104  # "not known", nothing is bound to it
    step: int = 0
    rate: float = 0.0
    low: int = 1024
    high: int = 65535
    last: int = 0


@dataclass(frozen=True, slots=True)
class HardNat:
    """`public`: external address and port of the sender's main socket."""

    step: HardNatStep
    attempt: bytes
    nat: NatClass
    public: AddrPort


def encode_body(message: HardNat, encoded_public: bytes) -> bytes:
    """`encoded_public` is the EP18 of `message.public`."""
    nat = message.nat
    rate = min(0xFFFF, round(nat.rate * _RATE_UNIT))
    head = _HEAD.pack(message.step, message.attempt, nat.mapping, nat.rule, nat.step, rate, nat.low, nat.high, nat.last)
    return head + encoded_public


def parse_body(body: bytes, public: AddrPort) -> HardNat:
    """`public` was parsed from the EP18 behind the head. Raises `DecodeError`."""
    step, attempt, mapping, rule, jump, rate, low, high, last = _HEAD.unpack_from(body)
    try:
        kinds = HardNatStep(step), NatMapping(mapping), PortRule(rule)
    except ValueError as error:
        raise DecodeError(DecodeReason.BAD_VALUE, "hard NAT message") from error
    if not 0 < low <= high or public.is_v6 or (kinds[2] is PortRule.SEQUENTIAL and not jump):
        raise DecodeError(DecodeReason.BAD_VALUE, "hard NAT message")
    nat = NatClass(kinds[1], kinds[2], public.ip, jump, rate / _RATE_UNIT, low, high, last)
    return HardNat(kinds[0], attempt, nat, public)


HEAD_SIZE = _SIZE
