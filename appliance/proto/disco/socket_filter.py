"""A BPF program for raw sockets: what comes to a UDP port and is not WireGuard (magicsock-disco spec 6.3). Pure.

It lets disco, STUN and Geneve pass and drops all else, so that a raw socket beside the kernel's WireGuard device is not
woken by data. A load beyond the packet drops it. An instruction is code (2 bytes), two jumps (1 byte each) and a
constant (4 bytes), in the byte order of the host (classic socket filter, linux/filter.h).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _LOAD_BYTE = 0x20, 0x30
_LOAD_AT_X, _LOAD_HALF_AT_X, _LOAD_BYTE_AT_X = 0x40, 0x48, 0x50
_X_IS, _X_IS_HEADER_LENGTH = 0x01, 0xB1
_AND, _EQUAL, _ANY_BIT, _RETURN = 0x54, 0x15, 0x45, 0x06
_ARRIVED_BY = 0xFFFFF008
"""Not of the packet: the number of the interface (SKF_AD_OFF + SKF_AD_IFINDEX)."""
_UDP = 17
_DISCO_HEAD, _DISCO_REST = 0x5453F09F, 0x92AC
_GENEVE_MASK, _GENEVE_DISCO, _GENEVE_WIREGUARD = 0xC03FFFFF, 0x7A11, 0x7A12
_STUN_COOKIE = 0x2112A442
_NEXT = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """`yes` and `no` are labels of later steps, empty for the next one."""

    code: int
    constant: int
    yes: str = _NEXT
    no: str = _NEXT
    label: str = ""


def port_filter(version: int, port: int, ignored: Sequence[int] = ()) -> bytes:
    """The program for a raw UDP socket of that IP version; `ignored`: numbers of interfaces whose packets it drops.

    Sockets of IPv4 see the IP header first, those of IPv6 the UDP header.
    """
    steps = [_Step(_LOAD, _ARRIVED_BY)] if ignored else []
    steps += [_Step(_EQUAL, number, yes="drop") for number in ignored]
    if version == 4:
        steps += [_Step(_LOAD_BYTE, 9), _Step(_EQUAL, _UDP, no="drop"), _Step(_X_IS_HEADER_LENGTH, 0)]
    else:
        steps += [_Step(_X_IS, 0)]
    return _assembled([*steps, *_kinds(port)])


def _kinds(port: int) -> list[_Step]:
    """X is where the UDP header starts, 8 bytes before the payload."""
    return [
        _Step(_LOAD_HALF_AT_X, 2),
        _Step(_EQUAL, port, no="drop"),
        _Step(_LOAD_AT_X, 8),
        _Step(_EQUAL, _DISCO_HEAD, yes="disco"),
        _Step(_AND, _GENEVE_MASK),
        _Step(_EQUAL, _GENEVE_DISCO, yes="geneve"),
        _Step(_EQUAL, _GENEVE_WIREGUARD, yes="geneve"),
        _Step(_LOAD_BYTE_AT_X, 8),
        _Step(_ANY_BIT, 0xC0, yes="drop"),
        _Step(_LOAD_AT_X, 12),
        _Step(_EQUAL, _STUN_COOKIE, yes="accept", no="drop"),
        _Step(_LOAD_BYTE_AT_X, 15, label="geneve"),
        _Step(_EQUAL, 0, yes="accept", no="drop"),
        _Step(_LOAD_HALF_AT_X, 12, label="disco"),
        _Step(_EQUAL, _DISCO_REST, no="drop"),
        _Step(_RETURN, 0xFFFFFFFF, label="accept"),
        _Step(_RETURN, 0, label="drop"),
    ]


def _assembled(steps: Sequence[_Step]) -> bytes:
    places = {step.label: place for place, step in enumerate(steps) if step.label}
    return b"".join(
        _INSTRUCTION.pack(
            step.code,
            places[step.yes] - place - 1 if step.yes else 0,
            places[step.no] - place - 1 if step.no else 0,
            step.constant,
        )
        for place, step in enumerate(steps)
    )
