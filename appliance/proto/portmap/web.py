"""HTTP as routers speak it: our requests, and replies with a length, in chunks, or to the end (RFC 9112 section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.proto.http1.head import Headers, ResponseHead, encode_request_head, parse_response_head
from appliance.types.errors import DecodeError, DecodeReason

MAX_BODY = 1 << 17
MAX_REPLY = MAX_BODY * 2


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes


def encode_request(method: str, target: str, host: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """A whole request after which the server closes. Raises `ValueError` for a target that cannot be sent."""
    length = (("Content-Length", str(len(body))),) if body else ()
    fixed = (("Host", host), ("User-Agent", "waypost"), ("Connection", "close"))
    return encode_request_head(method, target, (*fixed, *headers, *length)) + body


def parse_reply(data: bytes, *, ended: bool) -> Reply | None:
    """A reply from its beginning; `ended`: the server closed. None = more bytes needed. Raises `DecodeError`."""
    if len(data) > MAX_REPLY:
        raise DecodeError(DecodeReason.TOO_LONG, "HTTP reply")
    parsed = parse_response_head(data)
    body = _body(*parsed, data, ended) if parsed is not None else None
    if parsed is not None and body is not None:
        return Reply(parsed[0].status, body)
    if ended:
        raise DecodeError(DecodeReason.TOO_SHORT, "HTTP reply")
    return None


def _body(head: ResponseHead, size: int, data: bytes, ended: bool) -> bytes | None:
    rest = data[size:]
    if "chunked" in head.tokens("transfer-encoding"):
        return _unchunked(rest)
    return _plain(head, rest, ended)


def _plain(head: ResponseHead, rest: bytes, ended: bool) -> bytes | None:
    length = head.content_length()
    if (length or len(rest)) > MAX_BODY:
        raise DecodeError(DecodeReason.TOO_LONG, "HTTP body")
    if length is None:
        return rest if ended else None
    return rest[:length] if len(rest) >= length else None


def _unchunked(rest: bytes) -> bytes | None:
    """The joined chunks, None while the last one is missing."""
    body = bytearray()
    at = 0
    while (end := rest.find(b"\r\n", at, at + 64)) >= 0:
        digits = rest[at:end].split(b";")[0].strip()
        if not digits.isalnum() or len(digits) > 6:
            raise DecodeError(DecodeReason.BAD_LENGTH, "HTTP chunk")
        try:
            size = int(digits, 16)
        except ValueError:
            raise DecodeError(DecodeReason.BAD_LENGTH, "HTTP chunk") from None
        if not size:
            return bytes(body)
        if len(body) + size > MAX_BODY:
            raise DecodeError(DecodeReason.TOO_LONG, "HTTP body")
        at = end + 2 + size + 2
        if len(rest) < at:
            return None
        body += rest[end + 2 : at - 2]
    if len(rest) - at > 64:
        raise DecodeError(DecodeReason.BAD_LENGTH, "HTTP chunk")
    return None
