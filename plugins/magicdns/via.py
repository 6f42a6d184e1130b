"""Pure: 4via6 names (apps spec 7.7): the address of a site's IPv4 host, written in the name itself."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from appliance.types.addresses import VIA_V6

_SEPARATOR = "-via-"
_BASES = {"0x": 16, "0b": 2, "0o": 8}
MAX_SITE = 1 << 32


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
