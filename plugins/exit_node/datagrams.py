"""The running part of an exit behind a SOCKS5 proxy that carries UDP: takes its users' datagrams, sends them by one
association for each of their sockets, and answers in the name of who answered. What cannot go on is lost, never sent by
another way."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import NoReturn

from appliance.api import ExitDatagrams, HostHandle
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from plugins.exit_node.associations import Association, Associations
from plugins.exit_node.dialing import granted
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proto import SocksHandshake, parse_datagram
from plugins.exit_node.proxies import Credentials, Proxy, relay_of

SWEEP_S = 1.0
MAX_ASKED = 64
"""Associations that the proxy has not granted yet: more at once would be a flood to it."""
BATCH = 64
"""Datagrams of one direction before others have their turn."""
_MAX_DATAGRAM = 65535
_BUFFER_BYTES = 1 << 20


class DatagramForwarder:
    """`lost` counts datagrams that could not go on, in either direction."""

    def __init__(
        self, host: HostHandle, taken: ExitDatagrams, proxy: Proxy, credentials: Credentials | None = None
    ) -> None:
        self._host = host
        self._taken = taken
        self._proxy = proxy
        self._credentials = credentials
        self._held = Associations()
        self._tasks: dict[Association, asyncio.Task[None]] = {}
        self._asked: set[Association] = set()
        self._sockets: dict[Association, socket.socket] = {}
        """Of those that the proxy has granted."""
        self._now = 0.0
        self.lost = 0

    @property
    def associations(self) -> int:
        return len(self._held)

    async def run(self) -> NoReturn:
        self._now = await self._host.now()
        async with asyncio.TaskGroup() as group:
            self._taken.set_reader(lambda: self._take(group))
            try:
                while True:
                    await self._host.sleep(SWEEP_S)
                    self._now = await self._host.now()
                    for each in self._held.take_idle(self._now):
                        self._drop(each)
            finally:
                self._taken.set_reader(None)

    # --- from users

    def _take(self, group: asyncio.TaskGroup) -> None:
        for user, goal, payload in self._taken.receive(BATCH):
            if goal.address.is_loopback:  # to the forwarder itself
                continue
            association = self._held.find(user, self._now)
            if association is None:
                association = self._begin(user, group)
            if association is None or not self._send(association, association.wrapped(goal, payload)):
                self.lost += 1

    def _begin(self, user: AddrPort, group: asyncio.TaskGroup) -> Association | None:
        if len(self._asked) >= MAX_ASKED:
            return None
        made, former = self._held.add(user, self._now)
        if former is not None:
            self._drop(former)
        if made is not None:
            self._asked.add(made)
            self._tasks[made] = task = group.create_task(self._hold(made))
            task.add_done_callback(lambda _: self._asked.discard(made))
        return made

    def _drop(self, association: Association) -> None:
        if (task := self._tasks.pop(association, None)) is not None:
            task.cancel()

    def _send(self, association: Association, datagram: bytes) -> bool:
        if association.ended:
            return False
        sock = self._sockets.get(association)
        if sock is None:
            return association.wait(datagram)
        try:
            sock.send(datagram)
        except OSError:  # a full buffer, or too long for the way to the proxy
            return False
        return True

    # --- the proxy

    async def _hold(self, association: Association) -> None:
        """Until the proxy closes the association's connection, or it has been idle for too long."""
        made = SocksHandshake(None, self._credentials)
        try:
            async with granted(self._proxy, made) as (reader, writer):
                sock = _toward(relay_of(made.bound, str(writer.get_extra_info("peername")[0])))
                try:
                    self._carry(association, sock)
                    await reader.read(1)
                finally:
                    asyncio.get_running_loop().remove_reader(sock)
                    sock.close()
        except (OSError, TimeoutError, DecodeError, ProxyRefusedError):
            self.lost += len(association.waiting)
        finally:
            self._sockets.pop(association, None)
            self._held.end(association, self._now)

    def _carry(self, association: Association, sock: socket.socket) -> None:
        self._asked.discard(association)
        self._sockets[association] = sock
        asyncio.get_running_loop().add_reader(sock, self._answer, association, sock)
        for datagram in association.waiting:
            self.lost += not self._send(association, datagram)
        association.waiting.clear()

    def _answer(self, association: Association, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                source, payload = parse_datagram(sock.recv(_MAX_DATAGRAM))
            except BlockingIOError:
                return
            except (OSError, DecodeError):  # nobody listens there now; or not what a proxy sends
                self.lost += 1
                continue
            if not association.hears(source) or not self._taken.answer(source, association.user, payload):
                self.lost += 1


def _toward(relay: AddrPort) -> socket.socket:
    """A socket that sends to the proxy's relay and hears it alone. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if relay.is_v6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.connect(relay)
    except OSError:
        sock.close()
        raise
    return sock
