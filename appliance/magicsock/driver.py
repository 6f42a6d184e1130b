"""Carries events from the engine and the relays into the machine, and the machine's actions out. No IO, no loop.

The asyncio service and the simulator use it alike; what differs between them is `Surroundings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from appliance.magicsock.derp.interface import DerpPool
from appliance.magicsock.hard_nat.desk import SideRoute
from appliance.magicsock.machine import Magicsock
from appliance.magicsock.outbox import (
    Action,
    CloseSockets,
    FindCaptivePortal,
    MeasureHttps,
    OpenSockets,
    PingAnswered,
    Publish,
    ReadInterfaces,
    Rebind,
    RelayAsked,
    ResolveNames,
    SendDatagram,
    SendDerp,
    SetHome,
    SetPath,
)
from appliance.ports.clock import Clock
from appliance.ports.side_ports import NoSidePorts, SidePorts
from appliance.ports.underlay import PeerActivity, Underlay
from appliance.proto.disco import RelayEndpoint, is_disco
from appliance.types.addresses import Address, AddrPort
from appliance.types.ids import RegionId
from appliance.types.keys import NodePublicKey


class Surroundings(Protocol):
    """What the machine's world offers besides the engine and the relays. All calls return at once."""

    def publish(self, event: object) -> None: ...

    def interface_addresses(self) -> Sequence[Address]:
        """Addresses of this host's interfaces, without the tunnel's."""
        ...

    def resolve(self, names: Sequence[str]) -> None:
        """Answered by `Driver.names_resolved`."""
        ...

    def measure_https(self, regions: Sequence[RegionId]) -> None:
        """Answered by `Driver.https_measured`, once per region; before it perhaps by `Driver.icmp_measured`."""
        ...

    def find_captive_portal(self, hosts: Sequence[str]) -> None:
        """Answered by `Driver.captive_found`."""
        ...

    def rebind_derp(self) -> None:
        """Check the relay connections after a link change."""
        ...

    def ping_answered(self, answer: PingAnswered) -> None: ...

    def relay_asked(self, asked: RelayAsked) -> RelayEndpoint | None:
        """Where this node relays for a peer; None: it does not."""
        ...

    def timer_changed(self, deadline: float | None) -> None:
        """Call `Driver.timer` at `deadline` (monotonic seconds); replaces the earlier wish."""
        ...


class Driver:
    """Implements `UnderlaySink` and `DerpSink`."""

    def __init__(
        self,
        machine: Magicsock,
        underlay: Underlay,
        pool: DerpPool,
        clock: Clock,
        surroundings: Surroundings,
        side: SidePorts | None = None,
    ) -> None:
        self.machine = machine
        self._underlay = underlay
        self._pool = pool
        self._clock = clock
        self._surroundings = surroundings
        self._side: SidePorts = side if side is not None else NoSidePorts()
        self._side.set_receiver(self.side_received)
        self._datagrams: list[tuple[AddrPort, bytes]] = []
        self._draining = False
        self._deadline: float | None = None

    # What the engine tells

    def datagrams_received(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        now = self._clock.now()
        for source, packet in batch:
            self.machine.receive_datagram(source, packet, now)
        self.drain()

    def relay_packets(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        route = self.machine.side_route(peer, self._clock.now())
        if route is not None:
            self._send_aside(route, packets)
            if not route.mirrored:
                return
        home = self.machine.home_of(peer)
        if home is not None:
            self._pool.send(peer, home, packets)

    def peer_wanted(self, peer: NodePublicKey) -> None:
        self.machine.wanted(peer, self._clock.now())
        self.drain()

    def activity(self, reports: Sequence[PeerActivity]) -> None:
        self.machine.activity(reports, self._clock.now())
        self.drain()

    def send_failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        self.machine.send_failed(peer, to, error.errno, self._clock.now())
        self.drain()

    # Side sockets

    def side_received(self, number: int, source: AddrPort, packet: bytes) -> None:
        peer = self.machine.receive_aside(number, source, packet, self._clock.now())
        if peer is not None:
            self._underlay.inject(peer, (packet,))
        self.drain()

    def _send_aside(self, route: SideRoute, packets: Sequence[bytes]) -> None:
        try:
            for packet in packets:
                self._side.send(route.socket, route.to, packet)
        except OSError:
            self.machine.side_refused(self._clock.now())

    # What the relays tell

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        now = self._clock.now()
        traffic = []
        for packet in packets:
            if is_disco(packet):
                self.machine.receive_disco_by_derp(region, source, packet, now)
            else:
                traffic.append(packet)
        if traffic and self.machine.relay_traffic(region, source, now):
            self._underlay.inject(source, traffic)
        self.drain()

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        self.machine.derp_peer_gone(region, peer, self._clock.now())
        self.drain()

    def derp_connected(self, region: RegionId) -> None:
        self.machine.derp_connected(region, self._clock.now())
        self.drain()

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        self.machine.derp_disconnected(region, error, self._clock.now())
        self.drain()

    # Answers and time

    def names_resolved(self, addresses: Mapping[str, Sequence[Address]]) -> None:
        self.machine.receive_names(addresses, self._clock.now())
        self.drain()

    def icmp_measured(self, region: RegionId, latency_s: float) -> None:
        """Infinite: no echo came. Before `https_measured`."""
        self.machine.receive_icmp(region, latency_s)

    def https_measured(self, region: RegionId, latency_s: float | None) -> None:
        self.machine.receive_https(region, latency_s, self._clock.now())
        self.drain()

    def captive_found(self, captive: bool | None) -> None:
        self.machine.receive_captive(captive, self._clock.now())
        self.drain()

    def timer(self) -> None:
        self._deadline = None
        self.machine.handle_timer(self._clock.now())
        self.drain()

    # Actions

    def drain(self) -> None:
        """Carry out what the machine asks for. Calls that come back meanwhile only queue more of it."""
        if self._draining:
            return
        self._draining = True
        try:
            self._drain()
        finally:
            self._draining = False
        deadline = self.machine.next_timer()
        if deadline != self._deadline:
            self._deadline = deadline
            self._surroundings.timer_changed(deadline)

    def _drain(self) -> None:
        while True:
            while (action := self.machine.next_action()) is not None:
                self._handlers[type(action)](self, action)
            if not self._datagrams:
                return
            batch, self._datagrams = self._datagrams, []
            self._underlay.send_datagrams(batch)

    def _send_datagram(self, action: SendDatagram) -> None:
        if action.whole and not action.socket:
            self._underlay.send_whole(action.to, action.data)
            return
        if not action.socket:
            self._datagrams.append((action.to, action.data))
            return
        try:
            self._side.send(action.socket, action.to, action.data)
        except OSError:
            self.machine.side_refused(self._clock.now())

    def _open_sockets(self, action: OpenSockets) -> None:
        self.machine.receive_sockets(self._side.open(action.count), self._clock.now())

    def _close_sockets(self, action: CloseSockets) -> None:
        self._side.close(action.numbers)

    def _send_derp(self, action: SendDerp) -> None:
        self._pool.send(action.peer, action.home, (action.data,))

    def _set_path(self, action: SetPath) -> None:
        self._underlay.set_path(action.peer, action.path)

    def _set_home(self, action: SetHome) -> None:
        self._pool.set_home(action.region)

    def _rebind(self, action: Rebind) -> None:
        self._underlay.rebind()
        if action.derp:
            self._surroundings.rebind_derp()

    def _read_interfaces(self, action: ReadInterfaces) -> None:
        addresses = self._surroundings.interface_addresses()
        self.machine.receive_interfaces(addresses, self._underlay.local_ports(), self._clock.now())

    def _resolve(self, action: ResolveNames) -> None:
        self._surroundings.resolve(action.names)

    def _measure_https(self, action: MeasureHttps) -> None:
        self._surroundings.measure_https(action.regions)

    def _find_captive_portal(self, action: FindCaptivePortal) -> None:
        self._surroundings.find_captive_portal(action.hosts)

    def _publish(self, action: Publish) -> None:
        self._surroundings.publish(action.event)

    def _ping_answered(self, action: PingAnswered) -> None:
        self._surroundings.ping_answered(action)

    def _relay_asked(self, action: RelayAsked) -> None:
        endpoint = self._surroundings.relay_asked(action)
        if endpoint is not None:
            self.machine.relay_offered(action, endpoint, self._clock.now())

    _handlers: Mapping[type[Action], Callable[..., None]] = {
        SendDatagram: _send_datagram,
        OpenSockets: _open_sockets,
        CloseSockets: _close_sockets,
        SendDerp: _send_derp,
        SetPath: _set_path,
        SetHome: _set_home,
        Rebind: _rebind,
        ReadInterfaces: _read_interfaces,
        ResolveNames: _resolve,
        MeasureHttps: _measure_https,
        FindCaptivePortal: _find_captive_portal,
        Publish: _publish,
        PingAnswered: _ping_answered,
        RelayAsked: _relay_asked,
    }
