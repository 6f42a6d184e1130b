"""Asks a peer's API whether it is there (`ping --peerapi`)."""

from __future__ import annotations

import asyncio

from appliance.ports.clock import Clock
from appliance.ports.streams import StreamDialer
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError


class ProbeFailedError(ApplianceError):
    """The peer API of a peer does not answer as it should."""

    code = "peerapi"


async def probe(dialer: StreamDialer, endpoint: AddrPort, clock: Clock, timeout_s: float = 10.0) -> float:
    """HEAD `/`; the seconds that it took, connecting included. Raises `ProbeFailedError`."""
    started = clock.now()
    try:
        async with asyncio.timeout(timeout_s):
            status = await _status(dialer, endpoint, timeout_s)
    except (OSError, DecodeError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or "it closed the connection"
        raise ProbeFailedError(f"the peer API at {endpoint} does not answer: {reason}") from error
    if status != 200:
        raise ProbeFailedError(f"the peer API at {endpoint} answers with HTTP {status}")
    return clock.now() - started


async def _status(dialer: StreamDialer, endpoint: AddrPort, timeout_s: float) -> int:
    stream = await dialer.dial(endpoint.ip, endpoint.port, timeout_s=timeout_s)
    try:
        stream.write(encode_request_head("HEAD", "/", (("Host", str(endpoint)), ("Connection", "close"))))
        await stream.drain()
        received = b""
        while (parsed := parse_response_head(received)) is None:
            data = await stream.read()
            if not data:
                raise ConnectionResetError("it closed the connection")
            received += data
        return parsed[0].status
    finally:
        stream.close()
