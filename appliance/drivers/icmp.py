"""ICMP echo by a raw socket (CAP_NET_RAW)."""

from __future__ import annotations

import asyncio
import socket

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

    async def __call__(self, address: Address, timeout_s: float, size: int = _DATA_SIZE) -> float:
        """Seconds to the first reply, asking once a second with `size` bytes of data. Raises OSError, `TimeoutError`
        among them."""
        data = self._randomness.bytes(size)
        echo = Echo(int.from_bytes(self._randomness.bytes(2), "big"), 1, data)
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if address.version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        with self._sockets(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as raw:
            raw.connect((str(address), 0))
            async with asyncio.timeout(timeout_s):
                return await self._until_answered(raw, address.version, echo)

    async def _until_answered(self, raw: socket.socket, version: int, echo: Echo) -> float:
        while True:
            started = self._clock.now()
            raw.send(encode_request(version, echo))
            try:
                async with asyncio.timeout(_REPEAT_S):
                    while not await self._is_reply(raw, version, echo):
                        pass
            except TimeoutError:
                continue
            return self._clock.now() - started

    async def _is_reply(self, raw: socket.socket, version: int, echo: Echo) -> bool:
        packet = await asyncio.get_running_loop().sock_recv(raw, _RECEIVE_BYTES)
        try:
            return parse_reply(version, packet) == echo
        except DecodeError:
            return False
