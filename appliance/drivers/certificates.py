"""The few fields of an X.509 certificate that pinning needs, read from DER (RFC 5280 section 4.1, X.690).

Not a verifier: chains are checked by the TLS library. This reads the subject's common name, the validity and the
names of a certificate that was accepted by its hash, where the library tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from appliance.types.errors import DecodeError, DecodeReason

_SEQUENCE = 0x30
_OID = 0x06
_OCTETS = 0x04
_UTC_TIME = 0x17
_EXTENSIONS = 0xA3
_VERSION = 0xA0
_DNS_NAME = 0x82
_IP_NAME = 0x87
_COMMON_NAME = bytes.fromhex("550403")
_ALT_NAME = bytes.fromhex("551d11")


@dataclass(frozen=True, slots=True)
class CertificateFields:
    """`names` are the DNS names (lower case) and IP addresses (normal form) of the subject's alternative names."""

    common_name: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]

    def is_for(self, host: str) -> bool:
        """Whether a DNS name (with one leading wildcard label) or an address of the certificate is `host`."""
        wanted = host.lower().rstrip(".")
        suffix = wanted.partition(".")[2]
        return any(name == wanted or (suffix and name == f"*.{suffix}") for name in self.names)


def parse_certificate(der: bytes) -> CertificateFields:
    """Raises `DecodeError`."""
    outer = _one(der, _SEQUENCE)
    fields = list(_items(_one(outer, _SEQUENCE)))
    if fields and fields[0][0] == _VERSION:
        del fields[0]
    if len(fields) < 6:
        raise DecodeError(DecodeReason.TOO_SHORT, "certificate has too few fields")
    times = [_time(tag, value) for tag, value in _items(fields[3][1])]
    if len(times) != 2:
        raise DecodeError(DecodeReason.BAD_LENGTH, "certificate validity")
    extensions = [value for tag, value in fields[6:] if tag == _EXTENSIONS]
    names = tuple(_alternative_names(extensions[0])) if extensions else ()
    return CertificateFields(_common_name(fields[4][1]), times[0], times[1], names)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a constructed value: tag byte and content."""
    at = 0
    while at < len(data):
        if len(data) - at < 2:
            raise DecodeError(DecodeReason.TOO_SHORT, "DER header")
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4 or len(data) - at < count:
                raise DecodeError(DecodeReason.BAD_LENGTH, "DER length")
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if len(data) - at < size:
            raise DecodeError(DecodeReason.TOO_SHORT, "DER content")
        yield tag, data[at : at + size]
        at += size


def _one(data: bytes, tag: int) -> bytes:
    for found, value in _items(data):
        if found != tag:
            break
        return value
    raise DecodeError(DecodeReason.BAD_TYPE, "unexpected DER element")


def _common_name(name: bytes) -> str:
    for _, relative in _items(name):
        for _, pair in _items(relative):
            parts = list(_items(pair))
            if len(parts) == 2 and parts[0] == (_OID, _COMMON_NAME):
                return parts[1][1].decode("utf-8", errors="replace")
    return ""


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii", errors="replace")
    if tag == _UTC_TIME:  # two-digit years: 50 and above are 19xx (RFC 5280 section 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, "certificate time") from None


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, extension in _items(_one(extensions, _SEQUENCE)):
        parts = list(_items(extension))
        if len(parts) < 2 or parts[0] != (_OID, _ALT_NAME) or parts[-1][0] != _OCTETS:
            continue
        for tag, value in _items(_one(parts[-1][1], _SEQUENCE)):
            if tag == _DNS_NAME:
                yield value.decode("ascii", errors="replace").lower()
            elif tag == _IP_NAME and len(value) in (4, 16):
                yield str(ip_address(value))
