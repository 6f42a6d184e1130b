"""One IPv4 address that several routers of a LAN share: the one in charge holds it and tells the LAN.

The kernel keeps the address for a limited time only, so that a router whose daemon died gives it up by itself.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import IPv4Address

from appliance.types.errors import UnderlayError

LABEL = ":wp"
"""End of the kernel's label of such addresses; they are not the host's own."""
_NEW, _DEL = 20, 21
_REQUEST_ACK, _CREATE_REPLACE = 0x5, 0x500
_ERROR = 2
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO = 1, 2, 3, 6
_HEADER = struct.Struct("=IHHII")
_IFADDR = struct.Struct("=BBBBI")
_CACHEINFO = struct.Struct("=IIII")
_ETH_ARP = 0x0806
_GONE = (None, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO)
"""Address or interface is not there; looking up a name that is none gives no number."""


class SharedAddressError(UnderlayError):
    """The address cannot be held."""

    code = "shared-address"


def hold(address: IPv4Address, interface: str, seconds: int) -> None:
    """Hold it for so long, again and again. Raises `SharedAddressError`."""
    _ask(_NEW, _CREATE_REPLACE, address, interface, seconds)


def drop(address: IPv4Address, interface: str) -> None:
    """Give it up. One that is not there is fine. Raises `SharedAddressError`."""
    _ask(_DEL, 0, address, interface, 0)


def announce(address: IPv4Address, interface: str) -> None:
    """Tell the LAN's hosts whose it is now (RFC 5227 section 3): request and reply, for each is ignored by some.

    Raises `SharedAddressError`.
    """
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((interface, _ETH_ARP))
            mac: bytes = raw.getsockname()[4]
            for operation in (1, 2):
                raw.send(arp_packet(operation, mac, address))
    except OSError as error:
        raise SharedAddressError(f"cannot announce {address} on {interface}: {error.strerror or error}") from error


def arp_packet(operation: int, mac: bytes, address: IPv4Address) -> bytes:
    """A gratuitous ARP frame to all (RFC 826): sender and target are the same address."""
    ethernet = b"\xff" * 6 + mac + _ETH_ARP.to_bytes(2, "big")
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    target = b"\xff" * 6 if operation == 2 else bytes(6)
    return ethernet + body + mac + address.packed + target + address.packed


def address_request(
    kind: int, flags: int, address: IPv4Address, index: int, label: str, seconds: int, number: int
) -> bytes:
    """RTM_NEWADDR or RTM_DELADDR for a single address (rtnetlink.h, if_addr.h)."""
    body = _IFADDR.pack(socket.AF_INET, 32, 0, 0, index)
    body += _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    if kind == _NEW:
        body += _attribute(_IFA_LABEL, label.encode() + b"\0")
        body += _attribute(_IFA_CACHEINFO, _CACHEINFO.pack(seconds, seconds, 0, 0))
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_ACK | flags, number, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _ask(kind: int, flags: int, address: IPv4Address, interface: str, seconds: int) -> None:
    try:
        index = socket.if_nametoindex(interface)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(1.0)
            kernel.bind((0, 0))
            label = interface[: 15 - len(LABEL)] + LABEL
            kernel.send(address_request(kind, flags, address, index, label, seconds, 1))
            _check(kernel.recv(65536))
    except OSError as error:
        if kind == _DEL and error.errno in _GONE:
            return
        text = f"cannot {'hold' if kind == _NEW else 'give up'} {address} on {interface}"
        raise SharedAddressError(f"{text}: {error.strerror or error}") from error


def _check(answer: bytes) -> None:
    """Raises OSError with the kernel's error number."""
    _, kind, *_ = _HEADER.unpack_from(answer)
    number = struct.unpack_from("=i", answer, _HEADER.size)[0] if kind == _ERROR else 0
    if number:
        raise OSError(-number, os.strerror(-number))
