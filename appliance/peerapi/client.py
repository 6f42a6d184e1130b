"""One request to the peer API of a peer, over a connection of its own."""

from __future__ import annotations

import asyncio

from appliance.ports.streams import ByteStream, StreamDialer
from appliance.proto.http1.head import Headers, encode_request_head, parse_response_head
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

TIMEOUT_S = 10.0


class NoAnswerError(ConnectionError):
    """The text says why, in one clause."""


async def ask_peer(
    dialer: StreamDialer,
    endpoint: AddrPort,
    method: str,
    path: str,
    *,
    form: bytes = b"",
    most: int = 0,
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, bytes]:
    """HTTP status and at most so many bytes of the answer's body. Raises `NoAnswerError`."""
    headers: Headers = (("Host", str(endpoint)), *_form_headers(form), ("Connection", "close"))
    request = encode_request_head(method, path, headers) + form
    try:
        async with asyncio.timeout(timeout_s):
            stream = await dialer.dial(endpoint.ip, endpoint.port, timeout_s=timeout_s)
            try:
                return await _exchange(stream, request, most)
            finally:
                stream.close()
    except (OSError, DecodeError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or "it closed the connection"
        raise NoAnswerError(reason) from error


def _form_headers(form: bytes) -> Headers:
    if not form:
        return ()
    return (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(form))))


async def _exchange(stream: ByteStream, request: bytes, most: int) -> tuple[int, bytes]:
    stream.write(request)
    await stream.drain()
    received = b""
    while (parsed := parse_response_head(received)) is None:
        received += await _more(stream)
    head, size = parsed
    wanted = min(head.content_length() or 0, most)
    while len(received) < size + wanted:
        received += await _more(stream)
    return head.status, received[size : size + wanted]


async def _more(stream: ByteStream) -> bytes:
    data = await stream.read()
    if not data:
        raise ConnectionResetError("it closed the connection")
    return data
