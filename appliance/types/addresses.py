"""Addresses, prefixes and the ranges of the overlay (node-os spec 1.1).

`AddrPort` is a plain tuple subclass on purpose: the hot path makes millions of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from appliance.types.errors import DecodeError, DecodeReason

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

CGNAT_V4 = IPv4Network("100.64.0.0/10")
CHROMEOS_V4 = IPv4Network("100.115.92.0/23")
ULA_V6 = IPv6Network("fd7a:115c:a1e0::/48")
_CGNAT_BITS = int(CGNAT_V4.network_address) >> 22
_CHROMEOS_BITS = int(CHROMEOS_V4.network_address) >> 9
_ULA_BITS = int(ULA_V6.network_address) >> 80
VIA_V6 = IPv6Network("fd7a:115c:a1e0:b1a::/64")
_VIA_BITS = int(VIA_V6.network_address) >> 64
SERVICE_V4 = IPv4Address("100.100.100.100")
SERVICE_V6 = IPv6Address("fd7a:115c:a1e0::53")
DERP_MAGIC_V4 = IPv4Address("127.3.3.40")
DEFAULT_V4 = IPv4Network("0.0.0.0/0")
DEFAULT_V6 = IPv6Network("::/0")
MAPPED_SIZE = 18
_MAPPED = bytes(10) + b"\xff\xff"


class AddrPort(NamedTuple):
    """`ip` in its normal text form (IPv4-mapped already un-mapped) and UDP or TCP `port`."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def address(self) -> Address:
        return ip_address(self.ip)

    @property
    def is_v6(self) -> bool:
        return ":" in self.ip


def in_overlay(prefix: Prefix) -> bool:
    """Whether it overlaps the ranges that node addresses come from."""
    return prefix.overlaps(CGNAT_V4) or prefix.overlaps(ULA_V6)


def unmap(address: Address) -> Address:
    """`::ffff:a.b.c.d` becomes `a.b.c.d`; anything else stays."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def addr_port_from(address: Address, port: int) -> AddrPort:
    return AddrPort(str(unmap(address)), port)


def literal(text: str) -> Address | None:
    """The address that the text is; None for a name, and for anything else."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def encode_mapped(endpoint: AddrPort) -> bytes:
    """18 bytes: the address, IPv4 in its mapped form (RFC 4291 2.5.5.2), and the port, big-endian."""
    address = endpoint.address
    packed = _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed
    return packed + endpoint.port.to_bytes(2, "big")


def parse_mapped(data: bytes, at: int = 0) -> AddrPort:
    """Of `MAPPED_SIZE` bytes that are there."""
    port = int.from_bytes(data[at + 16 : at + MAPPED_SIZE], "big")
    if data[at : at + 12] == _MAPPED:
        return AddrPort(str(IPv4Address(data[at + 12 : at + 16])), port)
    return AddrPort(str(IPv6Address(data[at : at + 16])), port)


def parse_addr_port(text: str) -> AddrPort:
    """Parse `1.2.3.4:5` or `[2001:db8::1]:5`. Raises `DecodeError` (BAD_VALUE)."""
    host, sep, port_text = text.rpartition(":")
    try:
        if not sep or not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5:
            raise ValueError
        port = int(port_text)
        if host.startswith("[") and host.endswith("]"):
            address: Address = IPv6Address(host[1:-1].partition("%")[0])
        else:
            address = IPv4Address(host)
        if not 0 <= port <= 65535:
            raise ValueError
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, f"not an address and port: {text[:64]!r}") from None
    return addr_port_from(address, port)


def parse_prefix(text: str) -> Prefix:
    """Parse `10.0.0.0/8` or a bare address (a single-address prefix). Host bits must be zero."""
    try:
        return ip_network(text, strict=True)
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, f"not a prefix: {text[:64]!r}") from None


@lru_cache(maxsize=32_768)
def known_prefix(text: str) -> Prefix:
    """As `parse_prefix`, of texts that come again and again, as a mesh's routes do; the same text gives one object."""
    return parse_prefix(text)


def ordered(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """Each once, by family, address and length."""
    return tuple(sorted(set(prefixes), key=lambda each: (each.version, int(each.network_address), each.prefixlen)))


def is_single(prefix: Prefix) -> bool:
    return prefix.prefixlen == prefix.max_prefixlen


def is_overlay(address: Address) -> bool:
    """Whether an address lies in the ranges from which overlay addresses are given."""
    value = int(address)  # asked for each of 10,000 routes: `in` would cost several times as much
    if isinstance(address, IPv4Address):
        return value >> 22 == _CGNAT_BITS and value >> 9 != _CHROMEOS_BITS
    return value >> 80 == _ULA_BITS


def is_node_address(address: Address) -> bool:
    """Whether it may be a node's own: of the overlay, but not a site's host in 4via6 form (apps spec 7.7)."""
    return is_overlay(address) and int(address) >> 64 != _VIA_BITS
