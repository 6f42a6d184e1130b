"""One IPv4 address that several routers of a LAN share: the one in charge holds it and tells the LAN.

The kernel keeps the address for a limited time only, so that a router whose daemon died gives it up by itself.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import closing
from ipaddress import IPv4Address

from appliance.drivers.interface_messages import DELETE_ADDRESS, NEW_ADDRESS
from appliance.drivers.netlink_channel import NetlinkChannel
from appliance.drivers.netlink_messages import CREATE, REPLACE, attribute, named
from appliance.types.errors import UnderlayError

LABEL = ":wp"
"""End of the kernel's label of such addresses; they are not the host's own."""
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO = 1, 2, 3, 6
_IFADDR = struct.Struct("=BBBBI")
_CACHEINFO = struct.Struct("=IIII")
_ETH_ARP = 0x0806
_TIMEOUT_S = 1.0
_GONE = (None, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO)
"""Address or interface is not there; looking up a name that is none gives no number."""


class SharedAddressError(UnderlayError):
    """The address cannot be held."""

    code = "shared-address"


def hold(address: IPv4Address, interface: str, seconds: int) -> None:
    """Hold it for so long, again and again. Raises `SharedAddressError`."""
    _ask(NEW_ADDRESS, CREATE | REPLACE, address, interface, seconds)


def drop(address: IPv4Address, interface: str) -> None:
    """Give it up. One that is not there is fine. Raises `SharedAddressError`."""
    _ask(DELETE_ADDRESS, 0, address, interface, 0)


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


def address_body(kind: int, address: IPv4Address, index: int, label: str, seconds: int) -> bytes:
    """Payload of RTM_NEWADDR or RTM_DELADDR for a single address (rtnetlink.h, if_addr.h)."""
    body = _IFADDR.pack(socket.AF_INET, 32, 0, 0, index)
    body += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    if kind == NEW_ADDRESS:
        body += named(_IFA_LABEL, label)
        body += attribute(_IFA_CACHEINFO, _CACHEINFO.pack(seconds, seconds, 0, 0))
    return body


def _ask(kind: int, flags: int, address: IPv4Address, interface: str, seconds: int) -> None:
    try:
        index = socket.if_nametoindex(interface)
        label = interface[: 15 - len(LABEL)] + LABEL
        with closing(NetlinkChannel(socket.NETLINK_ROUTE, limit_s=_TIMEOUT_S)) as kernel:
            kernel.request(kind, address_body(kind, address, index, label, seconds), flags)
    except OSError as error:
        if kind == DELETE_ADDRESS and error.errno in _GONE:
            return
        text = f"cannot {'hold' if kind == NEW_ADDRESS else 'give up'} {address} on {interface}"
        raise SharedAddressError(f"{text}: {error.strerror or error}") from error
