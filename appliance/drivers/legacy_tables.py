"""Tables of iptables-legacy, which nft does not show: read from the kernel, as objects like those of nft's JSON.

The kernel gives a table in two answers of getsockopt on a raw socket (linux/netfilter_ipv4/ip_tables.h, and
netfilter_ipv6/ip6_tables.h; host order). To ask for a table makes it, so only one that is there is asked for.

| 64, ipt_getinfo | name 32, valid_hooks u32, 5 hook entries u32, 5 underflows u32, number of entries u32, size u32 |
| 65, ipt_get_entries | name 32, size u32, padding to 40, the entries |
| entry | head (ip: 84 bytes, ip6: 136), nfcache u32, target_offset u16, next_offset u16, comefrom u32, counters 16, |
|  | matches (size u16, name 29, ...), target (size u16, name 29, revision u8, data) |
| head | addresses and masks, iniface 16, outiface 16, their masks 16 + 16, protocol u16, flags, inverted flags u8 |

The standard target has no name and a verdict i32: -1 drop, -2 accept, -5 return, else the offset of a rule to go to.
A chain of a user begins with a target ERROR that holds its name; the one at a hook ends at its underflow, the policy.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.ports.firewall import LEGACY_FAMILIES
from appliance.types.errors import DecodeError, DecodeReason

TABLE = "filter"
_HOOKS = {1: "input", 2: "forward", 3: "output"}
_INFO, _ENTRIES = 64, 65
_INFO_FORM = struct.Struct("=32sI5I5III")
_HEADER_BYTES = 40
_MOST_BYTES = 1 << 24
_VERDICTS = {-1: "drop", -2: "accept", -5: "return"}
_TARGET_BYTES = 32
_ERROR = "ERROR"
_VIA_IN, _VIA_OUT = 1, 2
_OTHER = {"match": {"op": "==", "left": "other", "right": "other"}}
"""Any condition that is not about an interface."""


@dataclass(frozen=True, slots=True)
class Form:
    """Where things stand in an entry of one IP version."""

    level: int
    module: str
    names: str
    interfaces: int
    """Offset of iniface; what stands before it are addresses and masks."""
    flags: int
    goto: int
    """Offset of the flags, the inverted ones follow; and the flag of a goto."""
    offsets: int
    matches: int


FORMS = {
    4: Form(socket.IPPROTO_IP, "iptable_filter", "ip_tables_names", 16, 82, 2, 88, 112),
    6: Form(socket.IPPROTO_IPV6, "ip6table_filter", "ip6_tables_names", 64, 131, 4, 140, 168),
}
Info = tuple[tuple[int, ...], tuple[int, ...]]
"""Offsets of the hooks' first rules, and of their policies."""


def legacy_objects() -> list[dict[str, Any]]:
    """Chains and rules of the filter tables in the network of the calling thread; none where they cannot be read."""
    found: list[dict[str, Any]] = []
    for version, form in FORMS.items():
        with suppress(OSError, DecodeError):
            if _is_there(form):
                found += parse_table(version, *_read(version, form))
    return found


def _is_there(form: Form) -> bool:
    """By the kernel's list; where only root may read that, by the module."""
    try:
        return TABLE in Path("/proc/thread-self/net", form.names).read_text().split()
    except PermissionError:
        return Path("/sys/module", form.module).exists()


def _read(version: int, form: Form) -> tuple[Info, bytes]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as opened:
        info = _INFO_FORM.unpack(_ask(opened, form.level, _INFO, b"", _INFO_FORM.size))
        size = info[-1]
        if size > _MOST_BYTES:
            raise OSError("the table is too large")
        answer = _ask(opened, form.level, _ENTRIES, struct.pack("=I", size), _HEADER_BYTES + size)
    return (info[2:7], info[7:12]), answer[_HEADER_BYTES:]


def _ask(opened: socket.socket, level: int, option: int, more: bytes, size: int) -> bytes:
    """The socket module's getsockopt gives the kernel no question."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(TABLE.encode().ljust(32, b"\0") + more, size)
    length = ctypes.c_uint32(size)
    if library.getsockopt(opened.fileno(), level, option, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw


@dataclass(frozen=True, slots=True)
class _Entry:
    """`target` is its name; `data` what follows the name."""

    at: int
    until: int
    raw: memoryview
    target: str
    data: memoryview
    named: tuple[str, ...]
    """Matches, by their names."""


def parse_table(version: int, info: Info, data: bytes) -> list[dict[str, Any]]:
    """Raises `DecodeError`."""
    form, place = FORMS[version], {"family": LEGACY_FAMILIES[version], "table": TABLE}
    entries = list(_entries(form, memoryview(data)))
    chains = _chains(info[0], entries)
    policies = {info[1][number]: hook for number, hook in _HOOKS.items()}
    objects: list[dict[str, Any]] = []
    name = ""
    for entry in entries:
        name = chains.get(entry.at, name)
        if entry.at in policies:
            policy = _VERDICTS.get(_verdict(entry), "accept")
            objects.append({"chain": {**place, "name": name, "hook": policies[entry.at], "policy": policy}})
        elif name and entry.target != _ERROR:
            objects.append({"rule": {**place, "chain": name, "expr": _expression(form, entry, chains)}})
    return objects


def _entries(form: Form, data: memoryview) -> Iterator[_Entry]:
    at = 0
    while at < len(data):
        if at + form.matches > len(data):
            raise DecodeError(DecodeReason.TOO_SHORT, "an entry of a table ends in its head")
        target, size = struct.unpack_from("=HH", data, at + form.offsets)
        if not form.matches <= target <= size - _TARGET_BYTES or at + size > len(data):
            raise DecodeError(DecodeReason.BAD_LENGTH, "an entry of a table has impossible offsets")
        raw = data[at : at + size]
        yield _Entry(at, at + size, raw, _name(raw, target), raw[target + _TARGET_BYTES :], _matches(form, raw, target))
        at += size


def _matches(form: Form, raw: memoryview, end: int) -> tuple[str, ...]:
    found: list[str] = []
    at = form.matches
    while at < end:
        (size,) = struct.unpack_from("=H", raw, at)
        if not _TARGET_BYTES <= size <= end - at:
            raise DecodeError(DecodeReason.BAD_LENGTH, "a match of a table has an impossible length")
        found.append(_name(raw, at))
        at += size
    return tuple(found)


def _name(raw: memoryview, at: int) -> str:
    """Of a match or target."""
    return _text(raw[at + 2 : at + 31])


def _text(raw: memoryview) -> str:
    return bytes(raw).partition(b"\0")[0].decode("ascii", "replace")


def _chains(starts: tuple[int, ...], entries: list[_Entry]) -> dict[int, str]:
    """Names by the offsets of the first rules."""
    found = {starts[number]: hook.upper() for number, hook in _HOOKS.items()}
    found |= {entry.until: _text(entry.data[:30]) for entry in entries if entry.target == _ERROR}
    return found


def _verdict(entry: _Entry) -> int:
    if len(entry.data) < 4:
        raise DecodeError(DecodeReason.TOO_SHORT, "a verdict of a table is cut off")
    return int.from_bytes(entry.data[:4], sys.byteorder, signed=True)


def _expression(form: Form, entry: _Entry, chains: dict[int, str]) -> list[dict[str, Any]]:
    """Interfaces, one other condition for all the rest, and the verdict, in the words of nft's JSON."""
    flags, inverted = entry.raw[form.flags], entry.raw[form.flags + 1]
    made = list(_interfaces(form, entry.raw, inverted))
    protocol = struct.unpack_from("=H", entry.raw, form.interfaces + 64)[0]
    rest = any(entry.raw[: form.interfaces]) or protocol or flags & ~form.goto or inverted & ~(_VIA_IN | _VIA_OUT)
    if rest or any(name != "comment" for name in entry.named):
        made.append(_OTHER)
    if entry.target == "REJECT":
        made.append({"reject": None})
    elif not entry.target:
        made += _standard(_verdict(entry), bool(flags & form.goto), entry.until, chains)
    return made


def _interfaces(form: Form, raw: memoryview, inverted: int) -> Iterator[dict[str, Any]]:
    for number, (key, inverting) in enumerate((("iifname", _VIA_IN), ("oifname", _VIA_OUT))):
        start = form.interfaces + 16 * number
        compared = bytes(raw[start + 32 : start + 48]).count(0xFF)
        if compared:
            held = bytes(raw[start : start + compared]).decode("ascii", "replace")
            name = held.rstrip("\0") if held.endswith("\0") else f"{held}*"
            op = "!=" if inverted & inverting else "=="
            yield {"match": {"op": op, "left": {"meta": {"key": key}}, "right": name}}


def _standard(verdict: int, goto: bool, following: int, chains: dict[int, str]) -> list[dict[str, Any]]:
    """A rule without a target has the next one as its own."""
    if verdict in _VERDICTS:
        return [{_VERDICTS[verdict]: None}]
    if verdict == following or verdict not in chains:
        return []
    return [{"goto" if goto else "jump": {"target": chains[verdict]}}]
