"""Interfaces and their addresses as rtnetlink messages (linux/if_link.h, linux/if_addr.h). Pure.

A link's payload is struct ifinfomsg (16 bytes: family, filling, u16 type, i32 index, u32 flags, u32 mask of flags to
change) and attributes; an address' is struct ifaddrmsg (8 bytes: family, prefix length, flags, scope, u32 index).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface
from socket import AF_INET, AF_INET6

from appliance.drivers.netlink_messages import attribute, attributes, named, nested, number, text
from appliance.ports.netlink import InterfaceAddress, Link
from appliance.types.errors import DecodeError, DecodeReason

NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
_NAME, _MTU, _INFO, _KIND = 3, 4, 18, 1
_ADDRESS, _LOCAL = 1, 2
IFA_LABEL, IFA_CACHEINFO, IFA_FLAGS = 3, 6, 8
SHARED_LABEL = ":wp"
"""End of the label of an IPv4 address that routers of a LAN share; it is not the host's own."""
SHARED_FLAGS = 0x02 | 0x20 | 0x200
"""IPv6 has no labels: such an address is a single one without duplicate detection and prefix route, and deprecated from
the beginning, so that nothing leaves with it."""
CACHEINFO = struct.Struct("=IIII")
"""Preferred and valid for so many seconds, made and changed when."""
FOREVER = 0xFFFFFFFF
_LINK = struct.Struct("=BxHiII")
_ADDRESS_HEAD = struct.Struct("=BBBBI")
_NUMBER = struct.Struct("=I")
_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_SIZES: dict[int, int] = {AF_INET: 4, AF_INET6: 16}

ALL_ADDRESSES = _ADDRESS_HEAD.pack(0, 0, 0, 0, 0)


def link_payload(
    index: int = 0, name: str = "", *, up: bool | None = None, mtu: int | None = None, kind: str = ""
) -> bytes:
    """Finds a link by index or name and changes it; None leaves a value as it is. `kind` is that of a new one."""
    made = _LINK.pack(0, 0, index, _UP if up else 0, 0 if up is None else _UP)
    made += named(_NAME, name) if name else b""
    made += attribute(_MTU, _NUMBER.pack(mtu)) if mtu is not None else b""
    return made + (nested(_INFO, named(_KIND, kind)) if kind else b"")


def parse_link(payload: bytes) -> Link:
    """Raises `DecodeError`."""
    if len(payload) < _LINK.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "link message")
    _family, _type, index, flags, _change = _LINK.unpack_from(payload)
    found = dict(attributes(memoryview(payload)[_LINK.size :]))
    return Link(
        index, text(found.get(_NAME)), number(found.get(_MTU)), bool(flags & _UP), bool(flags & _LOOPBACK),
        bool(flags & _RUNNING),
    )  # fmt: skip


def parse_kind(payload: bytes) -> str:
    """Of a link, "" for a plain one. Raises `DecodeError`."""
    info = dict(attributes(memoryview(payload)[_LINK.size :])).get(_INFO)
    return text(dict(attributes(info)).get(_KIND)) if info is not None else ""


def address_payload(address: IPv4Interface | IPv6Interface, index: int) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    own = address.ip.packed
    head = _ADDRESS_HEAD.pack(family, address.network.prefixlen, 0, 0, index)
    return head + attribute(_LOCAL, own) + attribute(_ADDRESS, own)


def parse_address(payload: bytes, names: Mapping[int, str]) -> InterfaceAddress | None:
    """None for one of an unknown interface, for link-local IPv6, and for what routers of a LAN share.

    Raises `DecodeError`.
    """
    family, length, index, found = _read_address(payload)
    own, name = found.get(_LOCAL, found.get(_ADDRESS)), names.get(index)
    if own is None or name is None or family not in _SIZES:
        return None
    kind = IPv4Interface if family == AF_INET else IPv6Interface
    if len(own) != _SIZES[family] or length > 8 * len(own):
        raise DecodeError(DecodeReason.BAD_VALUE, "address message")
    address = kind((bytes(own), length))
    if _is_shared(family, length, found) or (address.version == 6 and address.ip.is_link_local):
        return None
    return InterfaceAddress(name, address)


def is_shared(payload: bytes) -> bool:
    """Whether routers of a LAN share the address of this message. Raises `DecodeError`."""
    family, length, _index, found = _read_address(payload)
    return _is_shared(family, length, found)


def _read_address(payload: bytes) -> tuple[int, int, int, dict[int, memoryview]]:
    """Family, prefix length, index of the interface, attributes. Raises `DecodeError`."""
    if len(payload) < _ADDRESS_HEAD.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "address message")
    family, length, _flags, _scope, index = _ADDRESS_HEAD.unpack_from(payload)
    return family, length, index, dict(attributes(memoryview(payload)[_ADDRESS_HEAD.size :]))


def _is_shared(family: int, length: int, found: Mapping[int, memoryview]) -> bool:
    if family == AF_INET:
        return text(found.get(IFA_LABEL)).endswith(SHARED_LABEL)
    times = found.get(IFA_CACHEINFO, b"")
    limited = len(times) == CACHEINFO.size and CACHEINFO.unpack(times)[1] != FOREVER
    return limited and length == 128 and number(found.get(IFA_FLAGS)) & SHARED_FLAGS == SHARED_FLAGS
