"""The product's port mapper on a simulated host, asking a simulated router."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address

from appliance.daemon.port_mapping import seen_of
from appliance.portmap.machine import PortMapper
from appliance.portmap.mapping import Kind, RouterPlace
from appliance.portmap.outbox import FetchFromRouter, MappingChanged, SendToRouter
from appliance.portmap.service import WEB_LIMIT_S
from appliance.ports.randomness import SeededRandomness
from appliance.proto.portmap import ssdp
from appliance.proto.portmap.web import parse_reply
from appliance.types.addresses import AddrPort
from tests.sim.home_router import HomeRouter
from tests.sim.node import SimNode
from tests.sim.world import World


class SimPortMapper:
    """The node's mapper, on a socket of its own; what it gets goes to path finding, as in the daemon."""

    def __init__(self, world: World, node: SimNode, router: HomeRouter, kinds: Collection[Kind] = tuple(Kind)) -> None:
        self._world, self._node, self._host, self._router = world, node, node.host, router
        self.machine = PortMapper(SeededRandomness(f"port mapper of {node.name} {world.seed}"), kinds)
        self._port = self._host.open(self._receive)
        self._wish = 0
        place = RouterPlace(IPv4Address(router.ip), IPv4Address(self._host.ip))
        router.join(self._announced)
        self.machine.set_network(place, self._host.port, world.now)
        self._drain()

    def network_lost(self) -> None:
        """The host has left the router's network."""
        self.machine.set_network(None, 0, self._world.now)
        self._drain()

    def release(self) -> None:
        """The gateway stops in order."""
        self.machine.release(self._world.now)
        self._drain()

    def _receive(self, source: AddrPort, data: bytes) -> None:
        self.machine.receive_datagram(data, source, self._world.now)
        self._drain()

    def _announced(self, data: bytes, source: AddrPort) -> None:
        if not self._host.asleep and self._host.realm is self._router.lan:
            self.machine.receive_datagram(data, source, self._world.now, announced=True)
            self._drain()

    def _drain(self) -> None:
        while (action := self.machine.next_action()) is not None:
            if isinstance(action, SendToRouter):
                self._send(action)
            elif isinstance(action, FetchFromRouter):
                self._fetch(action)
            elif isinstance(action, MappingChanged):
                self._tell()
        self._wish += 1
        wish, deadline = self._wish, self.machine.next_timer()
        if deadline is not None:
            self._world.at(deadline, lambda: self._timer(wish))

    def _send(self, action: SendToRouter) -> None:
        """What is sent to the group of UPnP stays on the LAN, where the router is the one who answers."""
        to = AddrPort(self._router.ip, ssdp.PORT) if action.to == ssdp.GROUP else action.to
        self._host.send(to, action.data, self._port)

    def _fetch(self, fetch: FetchFromRouter) -> None:
        """One HTTP exchange over TCP: two round trips on the LAN. A silent router is given up as by the service."""
        way = self._router.lan.quality.delay
        here = self._host.realm is self._router.lan
        answer = self._router.web(fetch.port, fetch.data, self._host.ip) if here else None
        self._world.after(4 * way if answer else WEB_LIMIT_S, lambda: self._fetched(fetch.token, answer))

    def _fetched(self, token: int, answer: bytes | None) -> None:
        reply = parse_reply(answer, ended=True) if answer is not None else None
        self.machine.receive_web(token, reply, self._world.now)
        self._drain()

    def _timer(self, wish: int) -> None:
        if wish != self._wish:
            return
        if self._host.asleep:
            self._world.after(1.0, lambda: self._timer(wish))
        else:
            self.machine.handle_timer(self._world.now)
            self._drain()

    def _tell(self) -> None:
        mapping = self.machine.result.mapping
        what = f"{mapping.external} by {mapping.kind}" if mapping else "nothing"
        self._world.note(self._node.name, f"router maps {what}")
        self._node.port_mapped(seen_of(self.machine.result))
