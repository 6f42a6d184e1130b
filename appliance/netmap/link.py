"""Keeps one tunnel to the control server: server key, dialling, pump."""

from __future__ import annotations

import asyncio

from appliance.netmap.address import ControlAddress
from appliance.netmap.connection import ControlConnection
from appliance.netmap.dialing import Sleep, TunnelDialer
from appliance.netmap.errors import ProtocolError
from appliance.netmap.server_key import fetch_server_key
from appliance.netmap.waiting import within
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.ports.streams import StreamDialer
from appliance.types.keys import MachinePrivateKey, MachinePublicKey

KEY_TIMEOUT_S = 20.0


class ControlLink:
    """`connected` gives the open tunnel, or opens one."""

    def __init__(
        self,
        dialer: StreamDialer,
        address: ControlAddress,
        machine_key: MachinePrivateKey,
        *,
        clock: Clock,
        randomness: Randomness,
        sleep: Sleep,
        ca_file: str = "",
    ) -> None:
        self._dialer = dialer
        self._address = address
        self._sleep = sleep
        self._ca_file = ca_file
        self._tunnels = TunnelDialer(dialer, address, machine_key, clock, randomness, sleep)
        self._server_key: MachinePublicKey | None = None
        self._connection: ControlConnection | None = None
        self._pump: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()

    async def connected(self) -> ControlConnection:
        """Raises `ControlUnreachable`, `NotAControlServer` or `ProtocolError`."""
        async with self._connecting:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            if self._server_key is None:
                fetching = fetch_server_key(self._dialer, self._address, ca_file=self._ca_file)
                self._server_key = await within(fetching, KEY_TIMEOUT_S, self._sleep, f"control server {self._address}")
            try:
                connection = await self._tunnels.open(self._server_key)
            except ProtocolError:
                # The server may have a new key: it is fetched again before the next attempt.
                self._server_key = None
                raise
            self._connection = connection
            self._pump = asyncio.get_running_loop().create_task(connection.run(), name="control: tunnel")
            return connection

    def drop(self, why: str) -> None:
        """Close the tunnel; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close(why)

    async def close(self) -> None:
        self.drop("shutting down")
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
