"""Numbers of the DNS (IANA, Domain Name System Parameters)."""

from __future__ import annotations

from collections.abc import Mapping

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41
SVCB, HTTPS, AXFR, ANY, CAA = 64, 65, 252, 255, 257
HINFO, DS, RRSIG, DNSKEY = 13, 43, 46, 48
IN, CH = 1, 3

TYPES: Mapping[str, int] = {
    "A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "PTR": PTR, "HINFO": HINFO, "MX": MX, "TXT": TXT, "AAAA": AAAA,
    "SRV": SRV, "DS": DS, "RRSIG": RRSIG, "DNSKEY": DNSKEY, "SVCB": SVCB, "HTTPS": HTTPS, "ANY": ANY, "CAA": CAA,
}  # fmt: skip
"""Types by name; others are written TYPE123 (RFC 3597)."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
RCODES: Mapping[int, str] = {
    NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", NOTIMP: "NOTIMP",
    REFUSED: "REFUSED", BADVERS: "BADVERS",
}  # fmt: skip

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE_MASK = 0x7800
DO = 0x8000
"""In the OPT record's TTL field, low half."""

_NAMES = {number: name for name, number in TYPES.items()}


def type_name(number: int) -> str:
    return _NAMES.get(number, f"TYPE{number}")


def type_number(text: str) -> int | None:
    """None for what is no type."""
    upper = text.upper()
    if upper.startswith("TYPE") and upper[4:].isascii() and upper[4:].isdigit() and len(upper) <= 9:
        number = int(upper[4:])
        return number if number < 65536 else None
    return TYPES.get(upper)
