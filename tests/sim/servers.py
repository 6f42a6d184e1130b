"""Twins of the servers: STUN with the real codec, DERP regions, and control, which tells nodes of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from appliance.magicsock.derp.interface import DerpSink
from appliance.magicsock.status import NetInfo
from appliance.proto.control.messages import CAPABILITY_VERSION
from appliance.proto.stun import encode_response, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.ids import NodeId, RegionId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion, Endpoint, NetmapDiff, Node
from tests.sim.network import Realm
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.node import SimNode


class StunServer:
    """Answers at one public address, port 3478."""

    def __init__(self, realm: Realm, ip: str) -> None:
        self._realm = realm
        realm.attach(ip, self._receive)

    def _receive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        try:
            tx_id = parse_request(data)
        except DecodeError:
            return
        if to.port == 3478:
            self._realm.send(to, source, encode_response(tx_id, source))


@dataclass
class Region:
    """`delay`: one way between a node and the server, for nodes without a delay of their own."""

    id: RegionId
    ip: str
    delay: float = 0.02
    down: bool = False
    ip6: str = "none"


class DerpWorld:
    """All regions. Packets are reliable and in order, as over TCP."""

    def __init__(self, world: World, internet: Realm, regions: Sequence[Region]) -> None:
        self.world = world
        self.regions = {region.id: region for region in regions}
        self.clients: dict[tuple[RegionId, NodePublicKey], SimPool] = {}
        for region in regions:
            for ip in (region.ip, region.ip6):
                if ip != "none":
                    StunServer(internet, ip)

    def derp_map(self) -> DerpMap:
        def made(region: Region) -> DerpRegion:
            node = DerpNode(f"{region.id}a", region.id, f"derp{region.id}.example", ipv4=region.ip, ipv6=region.ip6)
            return DerpRegion(region.id, f"r{region.id}", f"Region {region.id}", (node,))

        return DerpMap({region.id: made(region) for region in self.regions.values()})

    def restart(self, region: RegionId, seconds: float) -> None:
        """The region's server is gone for so long; every connection to it breaks."""
        self.regions[region].down = True
        for number, key in tuple(self.clients):
            if number == region:
                self.clients[number, key].break_region(region, "reset")
        self.world.after(seconds, lambda: setattr(self.regions[region], "down", False))

    def relay(self, region: RegionId, source: SimPool, to: NodePublicKey, packets: Sequence[bytes]) -> None:
        target = self.clients.get((region, to))
        back = source.delay(region)
        if target is None:
            self.world.after(back, lambda: source.peer_gone(region, to))
            return
        self.world.after(target.delay(region), lambda: target.arrive(region, source.key, packets))


class SimPool:
    """The DERP connections of one node: dialled on demand, ready after two round trips."""

    IDLE = 60.0
    QUEUE = 32

    def __init__(self, derp: DerpWorld, sink: DerpSink, extra_delay: float = 0.0) -> None:
        self._derp, self._sink, self._extra = derp, sink, extra_delay
        self._world = derp.world
        self.key = NodePublicKey.zero()
        self.home = RegionId(0)
        self._ready: set[RegionId] = set()
        self._dialling: dict[RegionId, list[tuple[NodePublicKey, Sequence[bytes]]]] = {}
        self._frames: dict[RegionId, float] = {}
        self._routes: dict[NodePublicKey, RegionId] = {}
        self._epoch = 0
        self.relayed_bytes = 0

    def delay(self, region: RegionId) -> float:
        return self._derp.regions[region].delay + self._extra

    def set_private_key(self, key: NodePrivateKey) -> None:
        raise AssertionError("the simulator gives the public key")

    def set_derp_map(self, derp_map: DerpMap) -> None:
        """The world knows the regions."""

    def set_home(self, region: RegionId) -> None:
        self.home = region
        if region:
            self._dial(region)

    def _dial(self, region: RegionId) -> None:
        if region in self._ready or region in self._dialling or region not in self._derp.regions:
            return
        self._dialling[region] = []
        epoch = self._epoch
        self._world.after(4 * self.delay(region), lambda: self._dialled(region, epoch))

    def _dialled(self, region: RegionId, epoch: int) -> None:
        if epoch != self._epoch:
            return
        if self._derp.regions[region].down:
            self._world.after(0.5, lambda: self._dialled(region, epoch))
            return
        self._ready.add(region)
        self._frames[region] = self._world.now
        self._derp.clients[region, self.key] = self
        self._sink.derp_connected(region)
        for peer, packets in self._dialling.pop(region, []):
            self._transmit(region, peer, packets)

    def send(self, peer: NodePublicKey, home: RegionId, packets: Sequence[bytes]) -> bool:
        route = self._routes.get(peer, RegionId(0))
        region = home if home in self._ready else route if route in self._ready else home
        if not region or region not in self._derp.regions:
            return False
        if region in self._ready:
            self._transmit(region, peer, packets)
        else:
            self._dial(region)
            waiting = self._dialling[region]
            waiting.append((peer, packets))
            del waiting[: -self.QUEUE]
        return True

    def _transmit(self, region: RegionId, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        if self._derp.regions[region].down:
            return
        self.relayed_bytes += sum(map(len, packets))
        self._world.after(self.delay(region), lambda: self._derp.relay(region, self, peer, packets))

    def arrive(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        if region in self._ready:
            self._frames[region] = self._world.now
            self._routes[source] = region
            self._sink.derp_received(region, source, packets)

    def peer_gone(self, region: RegionId, peer: NodePublicKey) -> None:
        if self._routes.get(peer) == region:
            del self._routes[peer]
        self._sink.derp_peer_gone(region, peer, True)

    def break_all(self, error: str) -> None:
        """Every connection is cut, as after roaming; home is dialled again."""
        self._epoch += 1
        broken, self._ready = self._ready, set()
        self._dialling.clear()
        self._routes.clear()
        for region in broken:
            self._derp.clients.pop((region, self.key), None)
            self._sink.derp_disconnected(region, error)
        if self.home:
            self._dial(self.home)

    def break_region(self, region: RegionId, error: str) -> None:
        """One connection is cut; home is dialled again."""
        self._ready.discard(region)
        self._derp.clients.pop((region, self.key), None)
        self._sink.derp_disconnected(region, error)
        if region == self.home:
            self._dial(region)

    def last_frame_at(self, region: RegionId) -> float | None:
        if region in self._ready and not self._derp.regions[region].down:
            return self._world.now  # keepalives and answers come all the time
        return self._frames.get(region)

    def connected_regions(self) -> Sequence[RegionId]:
        return sorted(self._ready)

    async def measure_https(self, region: RegionId) -> float | None:
        return None if self._derp.regions[region].down else 2 * self.delay(region)

    async def rebind(self) -> None:
        self.break_all("")

    async def close(self) -> None:
        self._epoch += 1
        for region in self._ready:
            self._derp.clients.pop((region, self.key), None)
        self._ready.clear()
        self._dialling.clear()


class MeshControl(Protocol):
    """What a simulated node has of control: the twin below, or the real one (`real_control`)."""

    def first_derp_map(self) -> DerpMap | None: ...

    def join(
        self, member: SimNode, node_id: NodeId, key: NodePublicKey, disco_key: DiscoPublicKey, overlay: str
    ) -> None: ...

    def restart(self, node_id: NodeId, disco_key: DiscoPublicKey) -> None: ...

    def set_endpoints(self, node_id: NodeId, endpoints: tuple[Endpoint, ...]) -> None: ...

    def set_net_info(self, node_id: NodeId, info: NetInfo) -> None: ...

    def set_home(self, node_id: NodeId, region: RegionId) -> None: ...

    def link_changed(self, node_id: NodeId) -> None: ...


class Control:
    """Tells every node of every other: keys, endpoints, home region. News take `delay` seconds."""

    def __init__(self, world: World, derp_map: DerpMap, delay: float = 0.05) -> None:
        self._world, self._derp_map, self._delay = world, derp_map, delay
        self._nodes: dict[NodeId, Node] = {}
        self._members: dict[NodeId, SimNode] = {}
        self._known: dict[NodeId, dict[NodeId, Node]] = {}

    def first_derp_map(self) -> DerpMap | None:
        """What a node knows before its first netmap."""
        return self._derp_map

    def join(
        self, member: SimNode, node_id: NodeId, key: NodePublicKey, disco_key: DiscoPublicKey, overlay: str
    ) -> None:
        from ipaddress import IPv4Network

        node = Node(
            node_id,
            StableNodeId(f"n{node_id}"),
            f"node{node_id}.example.",
            key,
            disco_key=disco_key,
            addresses=(IPv4Network(overlay),),
            capability_version=CAPABILITY_VERSION,
        )
        self._members[node_id] = member
        self._known[node_id] = {}
        self.change(node_id, lambda _: node, first=node)

    def change(self, node_id: NodeId, how: Callable[[Node], Node], first: Node | None = None) -> None:
        current = first or self._nodes[node_id]
        self._nodes[node_id] = how(current)
        self._world.after(self._delay, self._distribute)

    def set_endpoints(self, node_id: NodeId, endpoints: tuple[Endpoint, ...]) -> None:
        where = tuple(endpoint.addr_port for endpoint in endpoints)
        self.change(node_id, lambda node: replace(node, endpoints=where))

    def set_net_info(self, node_id: NodeId, info: NetInfo) -> None:
        """Of all that, others need the home region only."""

    def link_changed(self, node_id: NodeId) -> None:
        """Its news arrive all the same."""

    def set_home(self, node_id: NodeId, region: RegionId) -> None:
        self.change(node_id, lambda node: replace(node, home_derp=region))

    def set_disco_key(self, node_id: NodeId, disco_key: DiscoPublicKey) -> None:
        self.change(node_id, lambda node: replace(node, disco_key=disco_key))

    def restart(self, node_id: NodeId, disco_key: DiscoPublicKey) -> None:
        """The node came back empty-handed: it is told everything again."""
        self._known[node_id] = {}
        self.set_disco_key(node_id, disco_key)

    def _distribute(self) -> None:
        for node_id, member in self._members.items():
            known = self._known[node_id]
            changed = {
                other: node for other, node in self._nodes.items() if other != node_id and known.get(other) != node
            }
            if changed:
                previous = {other: known[other] for other in changed if other in known}
                known.update(changed)
                member.netmap_changed(NetmapDiff(changed=changed, previous=previous))
