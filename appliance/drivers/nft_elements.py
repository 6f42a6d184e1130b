"""Elements in and out of nftables' hash sets by netlink: where one peer comes or goes, no program has to be started.

A message (linux/netfilter/nf_tables.h) is a netlink head, nfgenmsg (u8 family, u8 version 0, u16 resource in network
order) and attributes. A transaction is one datagram:

| begin 0x10 | resource 10, the subsystem of nftables |
| new element 0xa0c, delete 0xa0e | 1 table, 2 set, 3 list of elements (1); resource 0 |
| end 0x11 | as the begin |
| get a table 0xa01 | 1 table; resource 0. Needs no transaction |

An element has 1 key (1 value) and, in a verdict map, 2 data (2 verdict: 1 u32 code in network order, 2 chain). A key of
several fields has each of them filled up to four bytes.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Callable
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address

from appliance.drivers.netlink_channel import NetlinkChannel, Request
from appliance.drivers.netlink_messages import CREATE, attribute, named, nested
from appliance.drivers.socket_options import NETLINK_NETFILTER

_FAMILIES = {"inet": 1}
_BEGIN, _END, _SUBSYSTEM = 0x10, 0x11, 10
_GET_TABLE = 0xA01
_KINDS = {"add": (0xA0C, CREATE), "delete": (0xA0E, 0)}
_TABLE, _SET, _ELEMENTS, _ELEMENT = 1, 2, 3, 1
_KEY, _DATA, _VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 1, 2, 1, 2
_JUMP = (-3 & 0xFFFFFFFF).to_bytes(4, "big")
_HEAD = struct.Struct(">BBH")
_BOUNDS = _HEAD.pack(0, 0, _SUBSYSTEM)
_FIELDS: dict[str, Callable[[str], bytes]] = {
    "ipv4_addr": lambda text: IPv4Address(text).packed,
    "ipv6_addr": lambda text: IPv6Address(text).packed,
    "inet_proto": lambda text: int(text).to_bytes(1, "big"),
    "inet_service": lambda text: int(text).to_bytes(2, "big"),
}
_MOST_TEXT = 1 << 14
"""Of a larger document nft makes better messages, and takes no longer than the kernel."""

_CHANGE = re.compile(r"(add|delete) element (\w+) ([\w.-]+) ([\w.-]+) \{ (.+) \}")
_MADE = re.compile(r"add (?:set|map) (\w+ [\w.-]+) ([\w.-]+) \{ type ([\w. ]+?)( : verdict)?; (.*)\}")
_GONE = re.compile(r"delete (?:table|set|map) (\w+ [\w.-]+)(?: ([\w.-]+))?")
Place = tuple[str, str]
"""Family and name of a table; name of a set."""


class SetElements:
    """Knows the hash sets that documents have made."""

    def __init__(self) -> None:
        self._fields: dict[Place, tuple[str, ...]] = {}

    def note(self, document: str) -> None:
        """The kernel has taken this document."""
        for line in document.splitlines():
            if made := _MADE.fullmatch(line):
                table, name, fields, _verdict, options = made.groups()
                if "interval" not in options:
                    self._fields[table, name] = tuple(fields.split(" . "))
            elif gone := _GONE.fullmatch(line):
                for place in [place for place in self._fields if place[0] == gone[1] and gone[2] in (None, place[1])]:
                    del self._fields[place]

    def apply(self, document: str) -> bool:
        """Whether the kernel has taken the document as one transaction. Else nothing of it took effect: it is more than
        elements of hash sets, or the kernel refused it."""
        try:
            changes = [self._message(line) for line in document.splitlines()] if len(document) <= _MOST_TEXT else []
            if not changes:
                return False
            with closing(NetlinkChannel(NETLINK_NETFILTER)) as channel:
                channel.transaction([(_BEGIN, 0, _BOUNDS), *changes, (_END, 0, _BOUNDS)])
        except (ValueError, KeyError, OverflowError, OSError):
            return False
        return True

    def _message(self, line: str) -> Request:
        """Type, flags and payload. Raises ValueError, KeyError or OverflowError for what is not an element of ours."""
        found = _CHANGE.fullmatch(line)
        if found is None:
            raise ValueError(line)
        verb, family, table, name, elements = found.groups()
        fields = self._fields[f"{family} {table}", name]
        made = b"".join(nested(_ELEMENT, _element(fields, text)) for text in elements.split(", "))
        kind, flags = _KINDS[verb]
        body = named(_TABLE, table) + named(_SET, name) + nested(_ELEMENTS, made)
        return kind, flags, _HEAD.pack(_FAMILIES[family], 0, 0) + body


def table_stands(family: str, name: str) -> bool:
    """Whether the network of the calling thread has this table of nftables. True where the kernel does not say."""
    try:
        with closing(NetlinkChannel(NETLINK_NETFILTER)) as channel:
            channel.request(_GET_TABLE, _HEAD.pack(_FAMILIES[family], 0, 0) + named(_TABLE, name))
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def _element(fields: tuple[str, ...], text: str) -> bytes:
    key, _, verdict = text.partition(" : ")
    values = [_FIELDS[field](part) for field, part in zip(fields, key.split(" . "), strict=True)]
    if len(values) > 1:
        values = [value + bytes(-len(value) % 4) for value in values]
    made = nested(_KEY, attribute(_VALUE, b"".join(values)))
    if not verdict:
        return made
    word, _, chain = verdict.partition(" ")
    if word != "jump":
        raise ValueError(verdict)
    return made + nested(_DATA, nested(_VERDICT, attribute(_CODE, _JUMP) + named(_CHAIN, chain)))
