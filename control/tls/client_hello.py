"""What a TLS client asks for before anything is agreed: server name and application protocols (RFC 8446 section 4.1.2).

Only as much of the first record as that takes (RFC 6066 section 3, RFC 7301 section 3.1); hostile bytes raise
`DecodeError`, and `NeedMoreError` says that the record is not there as a whole yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.types.errors import DecodeError, DecodeReason

RECORD_HEADER = 5
MAX_RECORD = 16384
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
_HOST_NAME = 0


class NeedMoreError(Exception):
    """The bytes are the beginning of a record."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """`server_name` in lower case, "" = none was given; `protocols` as offered."""

    server_name: str
    protocols: tuple[bytes, ...]


class _Reader:
    """Takes apart bytes that others wrote."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise DecodeError(DecodeReason.TOO_SHORT, "client hello")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes with their length in front, itself of `size` bytes."""
        return self.take(self.number(size))


def parse_client_hello(data: bytes) -> ClientHello:
    """Of a connection's first bytes. Raises `NeedMoreError`, and `DecodeError` where it is no TLS or badly formed."""
    if len(data) < RECORD_HEADER:
        raise NeedMoreError
    size = int.from_bytes(data[3:5], "big")
    if data[0] != _HANDSHAKE or data[1] != 3 or not 0 < size <= MAX_RECORD:
        raise DecodeError(DecodeReason.BAD_VALUE, "no TLS record")
    if len(data) < RECORD_HEADER + size:
        raise NeedMoreError
    record = _Reader(data[RECORD_HEADER : RECORD_HEADER + size])
    if record.number(1) != _CLIENT_HELLO:
        raise DecodeError(DecodeReason.BAD_VALUE, "no client hello")
    hello = _Reader(record.vector(3))
    hello.take(2 + 32)
    for length_size in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.vector(length_size)
    return _from_extensions(b"" if hello.is_empty else hello.vector(2))


def _from_extensions(data: bytes) -> ClientHello:
    extensions = _Reader(data)
    name, protocols = "", []
    while not extensions.is_empty:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind == _SERVER_NAME:
            name = _host_name(content)
        elif kind == _ALPN:
            listed = _Reader(_Reader(content).vector(2))
            while not listed.is_empty:
                protocols.append(listed.vector(1))
    return ClientHello(name, tuple(protocols))


def _host_name(content: bytes) -> str:
    names = _Reader(_Reader(content).vector(2))
    while not names.is_empty:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", "replace").lower()
    return ""
