"""ICMP echo by a raw socket (CAP_NET_RAW)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace

from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.proto.icmp import Echo, encode_request, parse_reply
from appliance.types.addresses import Address
from appliance.types.errors import DecodeError

_REPEAT_S = 1.0
_DATA_SIZE = 16
_RECEIVE_BYTES = 2048


class IcmpPinger:
    def __init__(self, clock: Clock, randomness: Randomness, sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets
        self._clock = clock
        self._randomness = randomness

    async def __call__(
        self, address: Address, timeout_s: float, size: int = _DATA_SIZE, *, repeat_s: float = _REPEAT_S
    ) -> float:
        """Seconds from a request to its reply, the first that comes; asked every `repeat_s` with `size` bytes of data.

        Raises OSError, `TimeoutError` among them.
        """
        first = Echo(int.from_bytes(self._randomness.bytes(2), "big"), 0, self._randomness.bytes(size))
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if address.version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        with self._sockets(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as raw:
            raw.connect((str(address), 0))
            async with asyncio.timeout(timeout_s):
                return await self._until_answered(raw, address.version, first, repeat_s)

    async def _until_answered(self, raw: socket.socket, version: int, first: Echo, repeat_s: float) -> float:
        """Requests differ in their number, so that a late reply counts too."""
        sent: dict[Echo, float] = {}
        while True:
            echo = replace(first, sequence=len(sent) + 1)
            sent[echo] = self._clock.now()
            raw.send(encode_request(version, echo))
            try:
                async with asyncio.timeout(repeat_s):
                    while (asked_at := await self._answered(raw, version, sent)) is None:
                        pass
            except TimeoutError:
                continue
            return self._clock.now() - asked_at

    async def _answered(self, raw: socket.socket, version: int, sent: Mapping[Echo, float]) -> float | None:
        """When that was sent to which the next packet is the reply; None: to none."""
        packet = await asyncio.get_running_loop().sock_recv(raw, _RECEIVE_BYTES)
        try:
            return sent.get(parse_reply(version, packet))
        except DecodeError:
            return None
