"""The port mapper running: its sockets, timer and HTTP exchanges around the machine.

Sockets are open only while something is to be mapped. HTTP goes to the router's address alone, follows no redirect and
takes part in no proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from appliance.portmap.machine import PortMapper
from appliance.portmap.mapping import Kind, PortMapping, RouterPlace
from appliance.portmap.outbox import FetchFromRouter, MappingChanged, SendToRouter
from appliance.portmap.search import SEARCH_S
from appliance.ports.clock import Clock
from appliance.ports.packets import UdpPort, one
from appliance.ports.randomness import Randomness
from appliance.ports.streams import StreamDialer
from appliance.proto.portmap.web import Reply, parse_reply
from appliance.types.errors import ApplianceError, DecodeError

WEB_LIMIT_S = 3.0
GOODBYE_LIMIT_S = 1.0

OpenPorts = Callable[[], Sequence[UdpPort]]
"""Sockets toward the router, the one that asks first. Raises `ApplianceError`."""


class PortMappingService:
    """`place` and `local_port` (UDP, 0 = none) are read at each `refresh`; `on_change` gets every new result."""

    def __init__(
        self,
        open_ports: OpenPorts,
        dialer: StreamDialer,
        clock: Clock,
        randomness: Randomness,
        *,
        kinds: Collection[Kind],
        place: Callable[[], RouterPlace | None],
        local_port: Callable[[], int],
        on_change: Callable[[PortMapping], None],
        nonce_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._open_ports = open_ports
        self._dialer = dialer
        self._clock = clock
        self._place = place
        self._local_port = local_port
        self._on_change = on_change
        self._kinds = tuple(kinds)
        self._machine = PortMapper(randomness, self._kinds, nonce_of)
        self._router: RouterPlace | None = None
        self._wanted = False
        self._ports: list[UdpPort] = []
        self._timer: asyncio.TimerHandle | None = None
        self._group: asyncio.TaskGroup | None = None
        self._settled = asyncio.Event()

    @property
    def result(self) -> PortMapping:
        return self._machine.result

    def counters(self) -> dict[str, int]:
        return dict(self._machine.counters)

    async def run(self) -> None:
        """Until cancelled; `close` gives the mapping back."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self.refresh()
                await asyncio.Event().wait()
            finally:
                self._group = None

    def set_wanted(self, wanted: bool) -> None:
        """Whether this node takes part in a mesh now; if not, no port is open for it."""
        if wanted != self._wanted:
            self._wanted = wanted
            self.refresh()

    def refresh(self) -> None:
        """The host's network or our port may have changed."""
        if self._group is None:
            return
        place = self._place() if self._wanted and self._kinds else None
        port = self._local_port() if place is not None else 0
        if place is not None and port and not self._ports:
            self._open()
        self._router = place or self._router
        self._machine.set_network(place, port, self._clock.now())
        self._drain()
        if place is None:
            self._close_ports()

    async def probe(self) -> PortMapping:
        """What the router speaks now, at most `SEARCH_S` later."""
        self._machine.probe(self._clock.now())
        self._settled.clear()
        self._drain()
        if self._machine.searching:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEARCH_S * 2):
                    await self._settled.wait()
        return self.result

    async def close(self) -> None:
        """Tell the router that its port is no longer needed. Safe to call twice."""
        self._wanted = False
        self._machine.release(self._clock.now())
        fetches = self._carry_out()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_LIMIT_S):
                for fetch in fetches:
                    await self._exchange(fetch)
        self._close_ports()

    # Sockets

    def _open(self) -> None:
        try:
            self._ports = list(self._open_ports())
        except ApplianceError:
            self._machine.counters["portmap_no_socket"] += 1
            return
        for port in self._ports:
            port.set_reader(lambda port=port: self._readable(port))  # type: ignore[misc]  # the default binds it

    def _close_ports(self) -> None:
        for port in self._ports:
            port.close()
        self._ports = []

    def _readable(self, port: UdpPort) -> None:
        now = self._clock.now()
        for source, batch in port.receive():
            for datagram in batch:
                self._machine.receive_datagram(bytes(datagram), source, now, announced=port is not self._ports[0])
        self._drain()

    # Actions

    def _drain(self) -> None:
        for fetch in self._carry_out():
            if self._group is not None:
                self._group.create_task(self._fetch(fetch), name="portmap http")
        if not self._machine.searching:
            self._settled.set()
        self._set_timer()

    def _carry_out(self) -> list[FetchFromRouter]:
        """Everything but the HTTP exchanges, which are returned."""
        fetches = []
        while (action := self._machine.next_action()) is not None:
            if isinstance(action, SendToRouter):
                self._send(action)
            elif isinstance(action, FetchFromRouter):
                fetches.append(action)
            elif isinstance(action, MappingChanged):
                self._on_change(self._machine.result)
        return fetches

    def _send(self, action: SendToRouter) -> None:
        if not self._ports:
            return
        try:
            self._ports[0].send(action.to, one(action.data))
        except OSError:
            self._machine.counters["portmap_send_failed"] += 1

    async def _fetch(self, fetch: FetchFromRouter) -> None:
        reply = await self._exchange(fetch)
        self._machine.receive_web(fetch.token, reply, self._clock.now())
        self._drain()

    async def _exchange(self, fetch: FetchFromRouter) -> Reply | None:
        """None when no reply came that can be understood."""
        if self._router is None:
            return None
        try:
            async with asyncio.timeout(WEB_LIMIT_S):
                stream = await self._dialer.dial(str(self._router.router), fetch.port, timeout_s=WEB_LIMIT_S)
                try:
                    stream.write(fetch.data)
                    received = b""
                    while True:
                        data = await stream.read()
                        received += data
                        reply = parse_reply(received, ended=not data)
                        if reply is not None:
                            return reply
                finally:
                    stream.close()
        except (OSError, TimeoutError, DecodeError):
            self._machine.counters["portmap_http_failed"] += 1
            return None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._machine.next_timer()
        if deadline is not None and self._group is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + max(0.0, deadline - self._clock.now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._machine.handle_timer(self._clock.now())
        self._drain()
