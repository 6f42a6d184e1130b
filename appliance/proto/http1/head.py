"""Request and response heads of at most 8 KiB (RFC 9112 sections 2 to 5; control-protocol spec section 3).

Strict on purpose: lines end with CRLF, no folding, no white space before the colon. Values are Latin-1 text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from appliance.types.errors import DecodeError, DecodeReason

MAX_HEAD_SIZE = 8192
MAX_HEADERS = 100
_END = b"\r\n\r\n"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"[!-~]+\Z")
_VALUE = re.compile(r"[\t -~\x80-\xff]*\Z")
_VERSION = re.compile(r"HTTP/1\.[01]\Z")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What both kinds share. Header names are lower case, in order of arrival."""

    version: str
    headers: Headers

    def header(self, name: str) -> str | None:
        """First value of the header (`name` in lower case), None when absent."""
        for found, value in self.headers:
            if found == name:
                return value
        return None

    def tokens(self, name: str) -> frozenset[str]:
        """All comma-separated tokens of a header in lower case, over all its lines."""
        parts = (part for found, value in self.headers if found == name for part in value.split(","))
        return frozenset(part.strip().lower() for part in parts if part.strip())

    def content_length(self) -> int | None:
        """Announced body size, None when not announced. Raises `DecodeError` for contradictions and chunked bodies."""
        if self.header("transfer-encoding") is not None:
            raise DecodeError(DecodeReason.UNEXPECTED, "chunked body")
        values = {value for name, value in self.headers if name == "content-length"}
        if not values:
            return None
        text = values.pop()
        if values or not text.isascii() or not text.isdigit() or len(text) > 12:
            raise DecodeError(DecodeReason.BAD_LENGTH, "content-length")
        return int(text)


@dataclass(frozen=True, slots=True)
class RequestHead(Head):
    method: str = "GET"
    target: str = "/"

    @property
    def path(self) -> str:
        """Path of the target without its query; of an absolute target, the part after the authority."""
        target = self.target
        if not target.startswith("/"):
            _, found, rest = target.partition("://")
            target = "/" + rest.partition("/")[2] if found else target
        return target.partition("?")[0]

    def query(self, name: str) -> str | None:
        """First value of a query parameter, percent-decoded (`+` stays: values here are base64), None when absent."""
        for part in self.target.partition("?")[2].split("&"):
            found, _, value = part.partition("=")
            if found == name:
                return unquote(value)
        return None

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to send more requests on this connection."""
        tokens = self.tokens("connection")
        return "keep-alive" in tokens if self.version == "HTTP/1.0" else "close" not in tokens


@dataclass(frozen=True, slots=True)
class ResponseHead(Head):
    status: int = 200
    reason: str = ""


def parse_request_head(data: bytes | bytearray) -> tuple[RequestHead, int] | None:
    """The head at the start of `data` and its size; None = more bytes needed. Raises `DecodeError`."""
    lines, size = _head_lines(data)
    if lines is None:
        return None
    parts = lines[0].split(" ")
    if len(parts) != 3:
        raise DecodeError(DecodeReason.BAD_TEXT, "request line")
    method, target, version = parts
    if not _TOKEN.match(method) or not _TARGET.match(target):
        raise DecodeError(DecodeReason.BAD_TEXT, "request line")
    if not _VERSION.match(version):
        raise DecodeError(DecodeReason.BAD_VERSION, "request line")
    return RequestHead(version, _parse_headers(lines[1:]), method, target), size


def parse_response_head(data: bytes | bytearray) -> tuple[ResponseHead, int] | None:
    """The head at the start of `data` and its size; None = more bytes needed. Raises `DecodeError`."""
    lines, size = _head_lines(data)
    if lines is None:
        return None
    version, _, rest = lines[0].partition(" ")
    status, _, reason = rest.partition(" ")
    if not _VERSION.match(version):
        raise DecodeError(DecodeReason.BAD_VERSION, "status line")
    if len(status) != 3 or not status.isascii() or not status.isdigit() or not _VALUE.match(reason):
        raise DecodeError(DecodeReason.BAD_TEXT, "status line")
    return ResponseHead(version, _parse_headers(lines[1:]), int(status), reason), size


def _head_lines(data: bytes | bytearray) -> tuple[list[str] | None, int]:
    end = data.find(_END, 0, MAX_HEAD_SIZE)
    if end < 0:
        if len(data) >= MAX_HEAD_SIZE:
            raise DecodeError(DecodeReason.TOO_LONG, "HTTP head")
        return None, 0
    return bytes(data[:end]).decode("latin-1").split("\r\n"), end + len(_END)


def _parse_headers(lines: list[str]) -> Headers:
    if len(lines) > MAX_HEADERS:
        raise DecodeError(DecodeReason.TOO_LONG, "headers")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise DecodeError(DecodeReason.BAD_TEXT, "header line")
        headers.append((name.lower(), value.strip(" \t")))
    return tuple(headers)


def encode_request_head(method: str, target: str, headers: Headers) -> bytes:
    """A head with the names spelled as given. Raises `ValueError` for what could not be parsed back."""
    if not _TOKEN.match(method) or not _TARGET.match(target):
        raise ValueError("bad request line")
    return _encode(f"{method} {target} HTTP/1.1", headers)


def encode_response_head(status: int, headers: Headers) -> bytes:
    """A head with the standard phrase of `status`."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return _encode(f"HTTP/1.1 {status} {phrase}", headers)


def encode_response(status: int, body: bytes, content_type: str = "text/plain", *extra: tuple[str, str]) -> bytes:
    """A whole reply with `Content-Length`; 204 and 304 carry neither body nor type."""
    if status in (204, 304):
        return encode_response_head(status, extra)
    headers = (("Content-Type", content_type), ("Content-Length", str(len(body))), *extra)
    return encode_response_head(status, headers) + body


def _encode(first_line: str, headers: Headers) -> bytes:
    for name, value in headers:
        if not _TOKEN.match(name) or not _VALUE.match(value):
            raise ValueError(f"bad header {name!r}")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{first_line}\r\n{lines}\r\n".encode("latin-1")
