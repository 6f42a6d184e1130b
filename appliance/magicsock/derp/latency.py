"""Latency of a region over HTTPS, for networks that eat UDP (derp spec 9.6)."""

from __future__ import annotations

import asyncio

from appliance.magicsock.derp.dialling import dial_region, host_header
from appliance.ports.clock import Clock
from appliance.ports.streams import ByteStream, StreamDialer
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.types.errors import DecodeError
from appliance.types.netmap import DerpRegion

PATH = "/derp/latency-check"
TIMEOUT_S = 5.0


async def measure_https(dialer: StreamDialer, clock: Clock, region: DerpRegion, ca_file: str = "") -> float | None:
    """Seconds of one request on a connection that is already open; None when it fails or takes over 5 s."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reached = await dial_region(dialer, clock, region, ca_file=ca_file, timeout_s=TIMEOUT_S)
            try:
                return await _time_request(reached.stream, clock, host_header(reached.node))
            finally:
                reached.stream.close()
    except (OSError, TimeoutError, DecodeError):
        return None


async def _time_request(stream: ByteStream, clock: Clock, host: str) -> float | None:
    started = clock.now()
    stream.write(encode_request_head("GET", PATH, (("Host", host), ("User-Agent", "Go-http-client/1.1"))))
    answer = b""
    while True:
        data = await stream.read()
        if not data:
            return None
        answer += data
        found = parse_response_head(answer)
        if found is not None:
            return clock.now() - started if found[0].status <= 299 else None
