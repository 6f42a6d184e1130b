"""Pure: asking a proxy for a connection, by SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110 section 9.3.6), and
the UDP that goes by SOCKS5.

Both handshakes are used alike: send `start()`, give `receive` what comes and send what it returns, until `done`; `rest`
is then what came already beyond the answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import ip_address

from appliance.proto.http1.head import MAX_HEAD_SIZE, parse_response_head
from appliance.types.addresses import AddrPort, addr_port_from
from appliance.types.errors import DecodeError, DecodeReason
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proxies import Credentials

_VERSION, _AUTH_VERSION = 5, 1
_NO_AUTH, _PASSWORD, _NONE_FITS = 0, 2, 0xFF
_CONNECT, _ASSOCIATE = 1, 3
_UNKNOWN = AddrPort("0.0.0.0", 0)  # noqa: S104  # a field of the request
"""In an association's request: whatever the datagrams will come from (RFC 1928 section 4)."""
_ADDRESS_SIZE = {1: 4, 4: 16}
_NAME_TYPE = 3
_REASONS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live ran out",
    7: "command not supported",
    8: "address type not supported",
}


class SocksHandshake:
    """`target` None: an association for UDP (RFC 1928 section 4); `bound` is then where its datagrams go, None: the
    proxy gave a name. `receive` raises `ProxyRefusedError` and `DecodeError`."""

    def __init__(self, target: AddrPort | None, credentials: Credentials | None = None) -> None:
        self._command = _CONNECT if target is not None else _ASSOCIATE
        self._target = target or _UNKNOWN
        self.bound: AddrPort | None = None
        self._credentials = credentials
        self._buffer = bytearray()
        self._step: Callable[[], bytes | None] = self._method
        self.done = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def start(self) -> bytes:
        methods = [_NO_AUTH] if self._credentials is None else [_NO_AUTH, _PASSWORD]
        return bytes([_VERSION, len(methods), *methods])

    def receive(self, data: bytes) -> bytes:
        self._buffer += data
        out = b""
        while not self.done and (answer := self._step()) is not None:
            out += answer
        return out

    def _take(self, size: int) -> bytes | None:
        """None: more must come."""
        if len(self._buffer) < size:
            return None
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _method(self) -> bytes | None:
        found = self._take(2)
        if found is None:
            return None
        if found[0] != _VERSION:
            raise DecodeError(DecodeReason.BAD_VERSION, "SOCKS greeting")
        if found[1] == _NO_AUTH:
            return self._request()
        if found[1] == _PASSWORD and self._credentials is not None:
            self._step = self._authorised
            user, password = (part.encode() for part in self._credentials)
            return bytes([_AUTH_VERSION, len(user)]) + user + bytes([len(password)]) + password
        raise ProxyRefusedError("the proxy wants other credentials")

    def _authorised(self) -> bytes | None:
        found = self._take(2)
        if found is None:
            return None
        if found[1] != 0:
            raise ProxyRefusedError("the proxy refuses the credentials")
        return self._request()

    def _request(self) -> bytes:
        self._step = self._connected
        return bytes([_VERSION, self._command, 0]) + _encode_address(self._target)

    def _connected(self) -> bytes | None:
        """VER REP RSV ATYP BND.ADDR BND.PORT; a name has its length in front."""
        if len(self._buffer) < 5:
            return None
        version, reply, _, kind, length = self._buffer[:5]
        if version != _VERSION:
            raise DecodeError(DecodeReason.BAD_VERSION, "SOCKS reply")
        if reply != 0:
            raise ProxyRefusedError(f"the proxy says: {_REASONS.get(reply, f'error {reply}')}")
        size = 1 + length if kind == _NAME_TYPE else _ADDRESS_SIZE.get(kind)
        if size is None:
            raise DecodeError(DecodeReason.BAD_TYPE, "SOCKS address")
        taken = self._take(4 + size + 2)
        if taken is None:
            return None
        if kind != _NAME_TYPE:
            self.bound = _parse_address(taken, 4, size)
        self.done = True
        return b""


def encode_datagram_head(goal: AddrPort) -> bytes:
    """What goes before a datagram's data: RSV (2), FRAG (1), ATYP, DST.ADDR, DST.PORT (RFC 1928 section 7)."""
    return bytes(3) + _encode_address(goal)


def parse_datagram(datagram: bytes) -> tuple[AddrPort, bytes]:
    """Who sent it, and its data. Fragments and names are refused, as section 7 allows. Raises `DecodeError`."""
    if len(datagram) < 4:
        raise DecodeError(DecodeReason.TOO_SHORT, "SOCKS datagram")
    if datagram[2] != 0:
        raise DecodeError(DecodeReason.UNEXPECTED, "SOCKS fragment")
    size = _ADDRESS_SIZE.get(datagram[3])
    if size is None:
        raise DecodeError(DecodeReason.BAD_TYPE, "SOCKS address")
    if len(datagram) < 4 + size + 2:
        raise DecodeError(DecodeReason.TOO_SHORT, "SOCKS datagram")
    return _parse_address(datagram, 4, size), datagram[4 + size + 2 :]


def _encode_address(address: AddrPort) -> bytes:
    return bytes([4 if address.is_v6 else 1]) + ip_address(address.ip).packed + address.port.to_bytes(2, "big")


def _parse_address(data: bytes, start: int, size: int) -> AddrPort:
    end = start + size
    return addr_port_from(ip_address(data[start:end]), int.from_bytes(data[end : end + 2], "big"))


class ConnectHandshake:
    """The same by HTTP."""

    def __init__(self, target: AddrPort, credentials: Credentials | None = None) -> None:
        self._target = target
        self._credentials = credentials
        self._buffer = bytearray()
        self.done = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def start(self) -> bytes:
        lines = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._credentials is not None:
            encoded = base64.b64encode(":".join(self._credentials).encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {encoded}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def receive(self, data: bytes) -> bytes:
        self._buffer += data
        parsed = parse_response_head(self._buffer)
        if parsed is None:
            if len(self._buffer) > MAX_HEAD_SIZE:
                raise DecodeError(DecodeReason.TOO_LONG, "HTTP head")
            return b""
        head, size = parsed
        if head.status != 200:
            raise ProxyRefusedError(f"the proxy answers {head.status}")
        del self._buffer[:size]
        self.done = True
        return b""
