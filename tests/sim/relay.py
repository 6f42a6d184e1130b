"""A peer relay of the simulator: the product's server and forwarder on a simulated host of its own."""

from __future__ import annotations

from appliance.magicsock.outbox import RelayAsked
from appliance.ports.packets import MemoryUdpPort, Segments, one
from appliance.proto.disco import RelayEndpoint
from appliance.proto.peer_relay import BIND_LIFETIME_S, STEADY_LIFETIME_S, RelayServer, Session
from appliance.types.addresses import AddrPort
from plugins.peer_relay.forwarding import Forwarder
from tests.sim.network import Host
from tests.sim.node import SimNode
from tests.sim.plan import Plan
from tests.sim.scenario import Network
from tests.sim.world import World


class SimRelay:
    """Makes `node` relay for whomever `granted` names; None: for everybody."""

    def __init__(self, world: World, node: SimNode, host: Host, granted: set[SimNode] | None = None) -> None:
        self.world, self.host = world, host
        self.granted = granted
        self.server = RelayServer(world.randomness)
        self.forwarder = Forwarder(self.server, lambda _source, _packet: None)
        self.port = MemoryUdpPort(host.local, self._wire)
        self.forwarder.use((self.port,))
        self.port.set_reader(lambda: self.forwarder.readable(self.port, world.now))
        self.start()
        node.relay = self.asked
        self._expire()

    def start(self) -> None:
        self.host.receive = lambda source, data: self.port.deliver(source, one(data))

    def stop(self) -> None:
        """It goes deaf and dumb."""
        self.host.receive = lambda _source, _data: None

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


class RelayedNetwork(Network):
    """A planned network with one public node more, whose relay everybody may use."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        number = len(plan.nodes) + 1
        host = Host(self.world, self.terrain.internet, "192.0.2.210")
        self.third = SimNode(self.world, "relay", number, host, self.derp, self.control)
        self.relay = SimRelay(self.world, self.third, Host(self.world, self.terrain.internet, "192.0.2.211", 41642))
        for node in self.nodes:
            node.machine.set_relays(frozenset({self.third.key}), enabled=True, now=self.world.now)
            node.driver.drain()
