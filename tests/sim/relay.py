"""A peer relay of the simulator: the product's server and forwarder on a simulated host of its own."""

from __future__ import annotations

from appliance.magicsock.outbox import RelayAsked
from appliance.ports.packets import MemoryUdpPort, Segments, one
from appliance.proto.disco import RelayEndpoint
from appliance.proto.peer_relay import BIND_LIFETIME_S, STEADY_LIFETIME_S, RelayServer, Session
from appliance.types.addresses import AddrPort
from plugins.peer_relay.relay import Relay
from tests.sim.network import Host
from tests.sim.node import SimNode
from tests.sim.world import World


class SimRelay:
    """Makes `node` relay for whomever `granted` names; None: for everybody."""

    def __init__(self, world: World, node: SimNode, host: Host, granted: set[SimNode] | None = None) -> None:
        self.world, self.node, self.host = world, node, host
        self.granted = granted
        self.server = RelayServer(world.randomness)
        self.plugin = Relay(server=self.server, clock=lambda: world.now, addresses=(host.local,))
        self.forwarder = self.plugin.forwarder
        self.port = MemoryUdpPort(host.local, self._wire)
        self.forwarder.use((self.port,))
        self.port.set_reader(lambda: self.forwarder.readable(self.port, world.now))
        self.start()
        node.relay = self.asked
        self._expire()

    def start(self) -> None:
        self.host.receive = lambda source, data: self.port.deliver(source, one(data))

    def stop(self) -> None:
        """Its port goes deaf and dumb; the node still gives out places there."""
        self.host.receive = lambda _source, _data: None

    def die(self) -> None:
        """The whole machine, without a word."""
        self.host.asleep = self.node.host.asleep = True

    def _wire(self, _source: AddrPort, to: AddrPort, batch: Segments) -> None:
        for packet in batch:
            self.host.send(to, bytes(packet))

    def _expire(self) -> None:
        self.server.handle_timer(self.world.now)
        self.world.after(5.0, self._expire)

    def asked(self, asked: RelayAsked) -> RelayEndpoint | None:
        if self.granted is not None and asked.peer not in {node.key for node in self.granted}:
            return None
        session = self.server.allocate(str(asked.peer), asked.clients, self.world.now)
        if not isinstance(session, Session):
            return None
        lifetimes = int(BIND_LIFETIME_S * 1e9), int(STEADY_LIFETIME_S * 1e9)
        where = (self.host.local,)
        return RelayEndpoint(
            self.server.public_key, session.clients, session.lamport_id, session.vni, *lifetimes, where
        )

    @property
    def forwarded(self) -> int:
        return sum(self.forwarder.packets.values())
