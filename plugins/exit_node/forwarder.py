"""The running part of an exit behind a proxy: takes its users' TCP connections and makes them through the proxy, and
their UDP (`DatagramForwarder`) where the proxy carries it.

A connection's local address is where it was going. Besides, one loopback port for each resolver beyond the proxy.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from appliance.api import HostHandle, ListenPlace, ListenScope
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.datagrams import DatagramForwarder
from plugins.exit_node.dialing import CHUNK, granted, notice_the_dead, probe
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proto import ConnectHandshake, SocksHandshake
from plugins.exit_node.proxies import Credentials, ForwarderPlaces, Proxy, parse_credentials
from plugins.exit_node.uplink import DNS_PORT, proxy_of

LOOK_S = 2.0
TRY_S = 10.0
"""How often the proxy is looked for."""
MAX_CONNECTIONS = 1024
_LINGER_NONE = struct.pack("ii", 1, 0)
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_WithUdp = Callable[[ForwarderPlaces], ForwarderPlaces]
"""Adds what there is to say of UDP."""


class ExitForwarder:
    """`config` gives the settings; `placed` is told where it listens, and whether the proxy answers."""

    name = "exit-forwarder"

    def __init__(
        self, host: HostHandle, config: Callable[[], ExitNodeConfig], placed: Callable[[ForwarderPlaces], None]
    ) -> None:
        self._host = host
        self._config = config
        self._placed = placed
        self._users: set[asyncio.StreamWriter] = set()

    async def run(self) -> NoReturn:
        while True:
            config = self._config()
            proxy = proxy_of(config)
            if proxy is not None:
                try:
                    await self._serve(proxy, config)
                except (OSError, ValueError, ApplianceError) as error:
                    self._placed(ForwarderPlaces(error=str(error)))
            await self._host.sleep(LOOK_S)

    async def _serve(self, proxy: Proxy, config: ExitNodeConfig) -> None:
        """Until the settings change. Raises OSError, ValueError and `ApplianceError`."""
        credentials = _read_credentials(config.uplink_credentials)
        listeners = await self._listeners(config)
        port = listeners[0][0].getsockname()[1]
        resolvers = tuple(f"127.0.0.1:{sock.getsockname()[1]}" for sock, target in listeners if target is not None)
        servers: list[asyncio.Server] = []
        try:
            for sock, target in listeners:
                servers.append(await asyncio.start_server(self._handler(proxy, credentials, target), sock=sock))
            async with self._datagrams(proxy, credentials) as with_udp:
                await self._watch(config, proxy, credentials, ForwarderPlaces(port, resolvers), with_udp)
        finally:
            for server in servers:
                server.close()
            for sock, _ in listeners:
                sock.close()
            for writer in self._users:
                _reset(writer)
            self._placed(ForwarderPlaces())

    async def _watch(
        self,
        config: ExitNodeConfig,
        proxy: Proxy,
        credentials: Credentials | None,
        places: ForwarderPlaces,
        with_udp: _WithUdp,
    ) -> None:
        tried_at: float | None = None
        while proxy_of(self._config()) == proxy and _relevant(self._config()) == _relevant(config):
            now = await self._host.now()
            if tried_at is None or now - tried_at >= TRY_S:
                answers, no_udp = await probe(proxy, credentials)
                tried_at, places = now, replace(places, answers=answers, no_udp=no_udp)
            self._placed(with_udp(places))
            await self._host.sleep(LOOK_S)

    @asynccontextmanager
    async def _datagrams(self, proxy: Proxy, credentials: Credentials | None) -> AsyncIterator[_WithUdp]:
        """Carries UDP meanwhile, where the proxy may; TCP goes on without."""
        if not proxy.is_socks:
            yield lambda places: places
            return
        try:
            taken = await self._host.take_datagrams()
        except ApplianceError as error:
            reason = error.text
            yield lambda places: replace(places, no_udp=reason)
            return
        forwarder = DatagramForwarder(self._host, taken, proxy, credentials)

        def with_udp(places: ForwarderPlaces) -> ForwarderPlaces:
            counted = replace(places, associations=forwarder.associations, lost=forwarder.lost)
            return counted if places.no_udp else replace(counted, udp_port=taken.port)

        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(forwarder.run())
                yield with_udp
                task.cancel()
        finally:
            taken.close()

    async def _listeners(self, config: ExitNodeConfig) -> list[tuple[socket.socket, AddrPort | None]]:
        """The first two, of one port, for users of the exit; then one per resolver."""
        first = await self._host.listen(ListenPlace(ListenScope.EXIT, 0, _LOOPBACK[4]))
        found: list[tuple[socket.socket, AddrPort | None]] = [(first, None)]
        try:
            port = first.getsockname()[1]
            found.append((await self._host.listen(ListenPlace(ListenScope.EXIT, port, _LOOPBACK[6])), None))
            for address in config.uplink_resolvers:
                target = AddrPort(address, DNS_PORT)
                found.append((await self._host.listen(ListenPlace(ListenScope.LOCAL, 0, _LOOPBACK[4])), target))
        except ApplianceError:
            for sock, _ in found:
                sock.close()
            raise
        return found

    def _handler(
        self, proxy: Proxy, credentials: Credentials | None, target: AddrPort | None
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            goal = target or _goal(writer)
            if goal is None or len(self._users) >= MAX_CONNECTIONS:
                _reset(writer)
                return
            self._users.add(writer)
            try:
                await _forward(proxy, credentials, goal, reader, writer)
            except (OSError, TimeoutError, DecodeError, ProxyRefusedError, asyncio.IncompleteReadError):
                _reset(writer)
            finally:
                self._users.discard(writer)

        return handle


def _relevant(config: ExitNodeConfig) -> Sequence[object]:
    return config.uplink_resolvers, config.uplink_credentials


def _goal(writer: asyncio.StreamWriter) -> AddrPort | None:
    """Where a user of the exit wanted to go; None: to the forwarder itself."""
    ip, port = writer.get_extra_info("sockname")[:2]
    return None if ip in _LOOPBACK.values() else AddrPort(ip, port)


async def _forward(
    proxy: Proxy,
    credentials: Credentials | None,
    goal: AddrPort,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    made = SocksHandshake(goal, credentials) if proxy.is_socks else ConnectHandshake(goal, credentials)
    notice_the_dead(writer)
    try:
        async with granted(proxy, made) as (far_reader, far_writer):
            writer.write(made.rest)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
    except* (OSError, TimeoutError, DecodeError, ProxyRefusedError):
        _reset(writer)
    finally:
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Who asked sees what a host that refuses would send."""
    sock: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # the other side may have been faster
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end; the other one may go on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _read_credentials(path: str) -> Credentials | None:
    """Raises OSError and ValueError."""
    return parse_credentials(Path(path).read_text(encoding="utf-8")) if path else None
