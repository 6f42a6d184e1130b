"""Addresses that several routers of a LAN share: the one in charge holds them and tells the LAN.

The kernel keeps such an address for a limited time only, so that a router whose daemon died gives it up by itself.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_interface

from appliance.drivers.interface_messages import (
    CACHEINFO,
    DELETE_ADDRESS,
    GET_ADDRESS,
    IFA_CACHEINFO,
    IFA_FLAGS,
    IFA_LABEL,
    NEW_ADDRESS,
    SHARED_FLAGS,
    SHARED_LABEL,
    address_payload,
    is_shared,
)
from appliance.drivers.netlink_channel import NetlinkChannel
from appliance.drivers.netlink_messages import CREATE, REPLACE, attribute, named
from appliance.types.addresses import Address
from appliance.types.checksums import checksum, ones_sum
from appliance.types.errors import UnderlayError

_ETH_ARP, _ETH_IPV6 = 0x0806, 0x86DD
_ICMPV6, _ADVERTISEMENT, _OWN_MAC = 58, 136, 2
_ROUTER, _OVERRIDE = 0x80, 0x20
_ALL_NODES = IPv6Address("ff02::1").packed
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_TIMEOUT_S = 1.0
_GONE = (None, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO, errno.EEXIST)
"""Address or interface is not there, or it is the host's own; looking up a name that is none gives no number."""


class SharedAddressError(UnderlayError):
    """The address cannot be held."""

    code = "shared-address"


def hold(address: Address, interface: str, seconds: int) -> None:
    """Hold it for so long, again and again; it answers at once. Raises `SharedAddressError`."""
    _ask(NEW_ADDRESS, CREATE | REPLACE, address, interface, seconds)


def drop(address: Address, interface: str) -> None:
    """Give it up. One that is not there, or is not shared, is left alone. Raises `SharedAddressError`."""
    _ask(DELETE_ADDRESS, 0, address, interface, 0)


def announce(address: Address, interface: str) -> None:
    """Tell the LAN's hosts whose it is now (RFC 5227 section 3, RFC 4861 section 7.2.6).

    Raises `SharedAddressError`.
    """
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((interface, _ETH_ARP if address.version == 4 else _ETH_IPV6))
            for frame in announcement(raw.getsockname()[4], address):
                raw.send(frame)
    except OSError as error:
        raise SharedAddressError(f"cannot announce {address} on {interface}: {error.strerror or error}") from error


def announcement(mac: bytes, address: Address) -> tuple[bytes, ...]:
    """Frames to all hosts. By ARP a request and a reply, for each is ignored by some."""
    if isinstance(address, IPv6Address):
        return (neighbour_packet(mac, address),)
    return tuple(arp_packet(operation, mac, address) for operation in (1, 2))


def arp_packet(operation: int, mac: bytes, address: IPv4Address) -> bytes:
    """A gratuitous ARP frame to all (RFC 826): sender and target are the same address."""
    ethernet = b"\xff" * 6 + mac + _ETH_ARP.to_bytes(2, "big")
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    target = b"\xff" * 6 if operation == 2 else bytes(6)
    return ethernet + body + mac + address.packed + target + address.packed


def neighbour_packet(mac: bytes, address: IPv6Address) -> bytes:
    """An unsolicited neighbour advertisement to all nodes (RFC 4861 section 4.4): of a router, and it overrides."""
    message = bytes([_ROUTER | _OVERRIDE, 0, 0, 0]) + address.packed + bytes([_OWN_MAC, 1]) + mac
    size = 4 + len(message)
    pseudo = address.packed + _ALL_NODES + struct.pack("!II", size, _ICMPV6)  # RFC 8200 section 8.1
    filled = checksum(ones_sum(pseudo + bytes([_ADVERTISEMENT, 0]) + message))
    ethernet = _ALL_NODES_MAC + mac + _ETH_IPV6.to_bytes(2, "big")
    head = struct.pack("!IHBB", 6 << 28, size, _ICMPV6, 255) + address.packed + _ALL_NODES
    return ethernet + head + struct.pack("!BBH", _ADVERTISEMENT, 0, filled) + message


def address_body(kind: int, address: Address, index: int, label: str, seconds: int) -> bytes:
    """Payload of RTM_NEWADDR, RTM_DELADDR or RTM_GETADDR for a single address (rtnetlink.h, if_addr.h)."""
    is_v4 = address.version == 4
    body = address_payload(ip_interface(address), index)
    body += named(IFA_LABEL, label) if is_v4 else b""
    if kind != NEW_ADDRESS:
        return body
    flags, preferred = (0, seconds) if is_v4 else (SHARED_FLAGS, 0)
    body += attribute(IFA_FLAGS, struct.pack("=I", flags))
    return body + attribute(IFA_CACHEINFO, CACHEINFO.pack(preferred, seconds, 0, 0))


def _ask(kind: int, flags: int, address: Address, interface: str, seconds: int) -> None:
    try:
        index = socket.if_nametoindex(interface)
        label = interface[: 15 - len(SHARED_LABEL)] + SHARED_LABEL
        with closing(NetlinkChannel(socket.NETLINK_ROUTE, limit_s=_TIMEOUT_S)) as kernel:
            if address.version == 6 and _is_own(kernel, address, index):
                raise FileExistsError(errno.EEXIST, "it is the host's own")
            kernel.request(kind, address_body(kind, address, index, label, seconds), flags)
    except OSError as error:
        if kind == DELETE_ADDRESS and error.errno in _GONE:
            return
        text = f"cannot {'hold' if kind == NEW_ADDRESS else 'give up'} {address} on {interface}"
        raise SharedAddressError(f"{text}: {error.strerror or error}") from error


def _is_own(kernel: NetlinkChannel, address: Address, index: int) -> bool:
    """IPv6 has no labels that keep the kernel from changing an address of the host. Raises OSError."""
    try:
        found = kernel.request(GET_ADDRESS, address_body(GET_ADDRESS, address, index, "", 0))
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return not all(map(is_shared, found))
