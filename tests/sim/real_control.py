"""The product's control clients and server in the place of the twin `servers.Control`: whole nodes.

Real here: registration with a pre-auth key, the Noise tunnel and HTTP/2, the map stream and its deltas, the netmap's
owner, updates of endpoints, home region and disco key, the policy's grants for relays. Bytes go by simulated TCP.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.crypto.x25519 import clamp
from appliance.daemon.control_clients import wire_net_info
from appliance.daemon.relay_desk import RelayDesk
from appliance.magicsock.status import NetInfo
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.login import NodeKeys
from appliance.ports.events import EventBus
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.types.errors import ControlError
from appliance.types.events import NetmapChanged
from appliance.types.ids import NodeId, RegionId
from appliance.types.keys import DiscoPublicKey, MachinePrivateKey, NodePublicKey
from appliance.types.netmap import Endpoint, NetmapDiff
from tests.sim.control_server import URL, ControlServer
from tests.sim.tcp import HostDialer
from tests.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.api.values import RelayOffer, RelayRequest
    from appliance.netmap.store import NetmapView
    from appliance.types.netmap import DerpMap
    from tests.sim.node import SimNode

RETRY_S = 1.0
LOOK_S = 1.0
"""How often the clock is looked at, as the daemon does."""


@dataclass
class _Situation:
    view: NetmapView | None = None


@dataclass
class _Relays:
    """What `RelayDesk` knows of path finding."""

    node: SimNode
    serve_relay: object = None

    def set_relays(self, servers: frozenset[NodePublicKey], *, enabled: bool) -> None:
        self.node.use_relays(servers if enabled else frozenset())


@dataclass
class _Line:
    """One node's control client, over all of its lives."""

    node: SimNode
    number: NodeId
    machine_key: MachinePrivateKey
    randomness: SeededRandomness
    keys: NodeKeys | None = None
    client: ControlClient | None = None
    task: asyncio.Task[None] | None = None
    desk: RelayDesk | None = None
    offer: Callable[[RelayRequest], RelayOffer | None] = lambda _request: None
    situation: _Situation = field(default_factory=_Situation)


class RealControl:
    """Has the calls of the twin."""

    def __init__(self, world: World, derp_map: DerpMap, names: Sequence[str], way_s: float) -> None:
        self._world, self._way_s = world, way_s
        self.server = ControlServer(world, derp_map, names)
        self.server.open()
        self._lines: dict[NodeId, _Line] = {}

    @property
    def troubles(self) -> list[str]:
        """Nothing of it may ever be."""
        return [*self.server.troubles, *self.server.loop.troubles]

    def first_derp_map(self) -> DerpMap | None:
        """It comes with the netmap."""
        return None

    def join(
        self, member: SimNode, node_id: NodeId, key: NodePublicKey, disco_key: DiscoPublicKey, overlay: str
    ) -> None:
        randomness = SeededRandomness(f"client {member.name} {self._world.seed}")
        line = _Line(member, node_id, MachinePrivateKey(clamp(randomness.bytes(32))), randomness)
        self._lines[node_id] = line
        self._begin(line, disco_key)

    def restart(self, node_id: NodeId, disco_key: DiscoPublicKey) -> None:
        line = self._lines[node_id]
        assert line.task is not None
        line.task.cancel()
        self._begin(line, disco_key)

    def _begin(self, line: _Line, disco_key: DiscoPublicKey) -> None:
        node = line.node
        bus = EventBus()
        own = NodeKeys(node.private_key, node.key)
        settings = ControlSettings(URL, line.machine_key, lambda: own, lambda keys: setattr(line, "keys", keys))
        client = line.client = ControlClient(
            settings,
            dialer=HostDialer(self.server.loop.listeners, node.host, self._way_s),
            clock=self._world.clock,
            randomness=line.randomness,
            bus=bus,
            keys=line.keys,
            hostinfo=wire.Hostinfo(os="linux", hostname=node.name, backend_log_id="0" * 64),
            sleep=lambda seconds: self._sleep(node, seconds),
        )
        line.situation.view = client.netmap
        line.desk = RelayDesk(_Relays(node), line.situation, lambda request: line.offer(request))
        bus.subscribe(NetmapChanged, lambda event: self._changed(line, client, event.diff))
        client.update(disco_key=disco_key)
        line.task = self.server.loop.create_task(self._live(line, client))

    async def _live(self, line: _Line, client: ControlClient) -> None:
        while line.keys is None:
            try:
                await client.login(self.server.keys[line.node.name])
            except ControlError as error:
                self._world.note(line.node.name, f"login: {error.text}")
                await self._sleep(line.node, RETRY_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(client.run())
            group.create_task(self._look(line, client))

    async def _look(self, line: _Line, client: ControlClient) -> None:
        while True:
            line.node.machine.set_control_connected(client.is_connected)
            client.look_at_the_clock()
            await self._sleep(line.node, LOOK_S)

    async def _sleep(self, node: SimNode, seconds: float) -> None:
        """Timers of a host that sleeps wait for it."""
        await asyncio.sleep(seconds)
        while node.host.asleep:
            await asyncio.sleep(LOOK_S)

    def _changed(self, line: _Line, client: ControlClient, diff: NetmapDiff) -> None:
        """In the order of the daemon: relays' map, peers, who relays."""
        if line.client is not client:
            return
        if diff.derp_map_changed or diff.full:
            line.node.derp_map_changed(client.netmap.derp_map)
        line.node.netmap_changed(diff, client.netmap.self_node if diff.self_changed or diff.full else None)
        assert line.desk is not None
        line.desk.apply(diff)

    # What nodes tell

    def set_endpoints(self, node_id: NodeId, endpoints: tuple[Endpoint, ...]) -> None:
        self.client(node_id).update(endpoints=endpoints)

    def set_net_info(self, node_id: NodeId, info: NetInfo) -> None:
        self.client(node_id).update(net_info=wire_net_info(info))

    def set_home(self, node_id: NodeId, region: RegionId) -> None:
        """It goes with the rest of the net info."""

    def link_changed(self, node_id: NodeId) -> None:
        self.client(node_id).link_changed()

    def serves_relay(
        self, node_id: NodeId, offer: Callable[[RelayRequest], RelayOffer | None], users: Sequence[str]
    ) -> None:
        """The node's relay plugin offers places to those whom the policy names."""
        line = self._lines[node_id]
        line.offer = offer
        line.node.relay = lambda asked: line.desk.serve(asked) if line.desk is not None else None
        self.server.grant_relay(users, line.node.name)

    def client(self, node_id: NodeId) -> ControlClient:
        """Of the node's present life."""
        client = self._lines[node_id].client
        assert client is not None
        return client

    # The world's hand

    def interrupt(self, seconds: float) -> None:
        """The server stops in order and starts again so much later, with its database."""
        self.server.stop()
        self._world.after(seconds, self.server.start)

    @property
    def away(self) -> list[str]:
        """Nodes whose map stream is not open."""
        lines = self._lines.values()
        return [line.node.name for line in lines if line.client is None or not line.client.is_connected]

    def close(self) -> None:
        for line in self._lines.values():
            if line.task is not None:
                line.task.cancel()
        self._world.run(1.0)
        self.server.close()
