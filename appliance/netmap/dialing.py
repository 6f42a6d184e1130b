"""Opens a tunnel: plain HTTP and TLS raced (control-protocol spec section 3.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from appliance.netmap.address import ControlAddress
from appliance.netmap.connection import ControlConnection
from appliance.netmap.errors import ControlUnreachable, ProtocolError
from appliance.netmap.server_key import plain
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.ports.streams import StreamDialer, TlsPolicy
from appliance.proto.control.messages import CAPABILITY_VERSION
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.noise.handshake import Initiator
from appliance.types.errors import ControlError
from appliance.types.keys import MachinePrivateKey, MachinePublicKey

SECOND_DELAY_S = 0.5
ATTEMPT_S = 10.0
TLS_FIRST_S = 120.0
"""A dial within this time after the last one prefers TLS: some middleboxes kill port 80 later."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass
class TunnelDialer:
    """Makes tunnels to one server."""

    dialer: StreamDialer
    address: ControlAddress
    machine_key: MachinePrivateKey
    clock: Clock
    randomness: Randomness
    sleep: Sleep
    _last_dial: float | None = field(default=None, init=False)

    async def open(self, server_key: MachinePublicKey) -> ControlConnection:
        """A connection whose handshake is done. Raises `ControlUnreachable` or `ProtocolError`."""
        recent = self._last_dial is not None and self.clock.now() - self._last_dial < TLS_FIRST_S
        self._last_dial = self.clock.now()
        plain_attempt = (self.address.plain_port, None)
        if self.address.tls_port is None:
            return await self._race(server_key, [plain_attempt])
        # The certificate is not checked here: Noise authenticates the server (section 3.2 step 3).
        tls_attempt = (self.address.tls_port, TlsPolicy(self.address.sni, verify=False))
        if not recent:
            attempts: list[tuple[int, TlsPolicy | None]] = [plain_attempt, tls_attempt]
        elif self.address.scheme == "https":
            attempts = [tls_attempt]
        else:
            # Such a server may have no TLS at all: a client that insists on it never comes back (section 20).
            attempts = [tls_attempt, plain_attempt]
        return await self._race(server_key, attempts)

    async def _race(
        self, server_key: MachinePublicKey, attempts: Sequence[tuple[int, TlsPolicy | None]]
    ) -> ControlConnection:
        loop = asyncio.get_running_loop()
        hurry = asyncio.Event()
        timer = loop.create_task(_run(self.sleep(ATTEMPT_S)))
        tasks = [
            loop.create_task(self._attempt(server_key, port, tls, index * SECOND_DELAY_S, hurry))
            for index, (port, tls) in enumerate(attempts)
        ]
        failures: list[BaseException] = []
        waiting: set[asyncio.Task[ControlConnection]] = set(tasks)
        try:
            while waiting and not timer.done():
                await asyncio.wait({timer, *waiting}, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in waiting if task.done()]:
                    waiting.discard(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    failures.append(error)
                    hurry.set()
            raise self._explain(failures, timed_out=bool(waiting))
        finally:
            timer.cancel()
            for task in waiting:
                task.cancel()
            await _collect(waiting)

    async def _attempt(
        self, server_key: MachinePublicKey, port: int, tls: TlsPolicy | None, delay_s: float, hurry: asyncio.Event
    ) -> ControlConnection:
        if delay_s:
            await self._delay(delay_s, hurry)
        initiator = Initiator(
            self.machine_key, server_key, version=CAPABILITY_VERSION, ephemeral_seed=self.randomness.bytes(32)
        )
        stream = await self.dialer.dial(self.address.host, port, tls=tls, timeout_s=ATTEMPT_S)
        connection = ControlConnection(stream, ClientTunnel(self.address.host_header, initiator))
        await connection.handshake()
        return connection

    async def _delay(self, seconds: float, hurry: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(_run(self.sleep(seconds))), loop.create_task(_run(hurry.wait()))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _explain(self, failures: list[BaseException], *, timed_out: bool) -> ControlError:
        """The most telling of the failures: an answer tells more than silence, silence more than a closed port."""
        for kind in (ProtocolError, ControlError):
            for error in failures:
                if isinstance(error, kind):
                    return error
        if timed_out or not failures:
            why = f"no answer within {ATTEMPT_S:g} s"
        else:
            first = failures[0]
            why = plain(first) if isinstance(first, OSError) else f"{type(first).__name__}: {first}"
        text = f"cannot open the tunnel to the control server {self.address}: {why}"
        return ControlUnreachable(text, mend="check that the server runs and is reachable from here")


async def _run(awaitable: Awaitable[object]) -> None:
    await awaitable


async def _collect(tasks: set[asyncio.Task[ControlConnection]]) -> None:
    """Wait for cancelled attempts; a connection that one of them still made is closed."""
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, ControlConnection):
            result.close("another attempt was faster")
