"""4via6 (apps spec 7.7): addresses and prefixes of a site's IPv4 hosts in IPv6 form, and the names that spell them.

Bytes 0-7 are the range's, 8-11 the site's number, 12-15 the IPv4 address; a prefix is as long as that of IPv4 plus 96.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from appliance.types.addresses import CGNAT_V4, VIA_V6, Prefix

_SEPARATOR = "-via-"
_BASES = {"0x": 16, "0b": 2, "0o": 8}
MAX_SITE = 1 << 32
FIXED_BITS = 96
NOT_IN_SITES = (
    IPv4Network("0.0.0.0/32"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("255.255.255.255/32"),
    CGNAT_V4,
)
"""No host of a site is there; the packet filter saw only the IPv6 address."""


def via_prefix(site: int, network: IPv4Network) -> IPv6Network:
    """`site` is below 2^32."""
    number = int(VIA_V6.network_address) | site << 32 | int(network.network_address)
    return IPv6Network((number, FIXED_BITS + network.prefixlen))


def via_parts(prefix: Prefix) -> tuple[int, IPv4Network] | None:
    """Site and IPv4 prefix of one in that form; None for any other, also for one that no site has alone."""
    if not isinstance(prefix, IPv6Network) or prefix.prefixlen < FIXED_BITS or not prefix.subnet_of(VIA_V6):
        return None
    low = int(prefix.network_address) & (1 << 64) - 1
    return low >> 32, IPv4Network((low & 0xFFFFFFFF, prefix.prefixlen - FIXED_BITS))


def parse_via_route(text: str) -> IPv6Network | None:
    """`192.168.1.0/24-via-7` to its prefix, host bits cut off; None for any other text."""
    network, sep, site = text.strip().rpartition(_SEPARATOR)
    number = _site(site)
    if not sep or number is None:
        return None
    try:
        return via_prefix(number, IPv4Network(network, strict=False))
    except ValueError:
        return None


def route_text(text: str) -> str:
    """A route as people write it: `192.168.1.0/24-via-7` for one in that form, any other as it is."""
    try:
        parts = via_parts(ip_network(text))
    except ValueError:
        return text
    return text if parts is None else f"{parts[1]}{_SEPARATOR}{parts[0]}"


def via_address(label: str) -> IPv6Address | None:
    """`192-168-1-9-via-7` to its address; None for any other label."""
    octets, sep, site = label.rpartition(_SEPARATOR)
    if not sep:
        return None
    try:
        v4 = IPv4Address(octets.replace("-", "."))
    except AddressValueError:
        return None
    number = _site(site)
    if number is None or "." in octets:
        return None
    return IPv6Address(int(VIA_V6.network_address) | number << 32 | int(v4))


def via_label(address: IPv6Address) -> str | None:
    """The label of an address of that range; None for any other."""
    if address not in VIA_V6:
        return None
    low = int(address) & (1 << 64) - 1
    return f"{str(IPv4Address(low & 0xFFFFFFFF)).replace('.', '-')}{_SEPARATOR}{low >> 32}"


def _site(text: str) -> int | None:
    """Decimal, or with a prefix; a plain leading zero means octal."""
    base, digits = _BASES.get(text[:2], 10), text
    if base != 10:
        digits = text[2:]
    elif len(text) > 1 and text.startswith("0"):
        base, digits = 8, text[1:]
    if not digits.isascii() or not digits.isalnum():
        return None
    try:
        number = int(digits, base)
    except ValueError:
        return None
    return number if number < MAX_SITE else None
