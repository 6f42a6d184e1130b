import asyncio
from ipaddress import ip_address
from math import inf

import pytest

from appliance.crypto.x25519 import clamp
from appliance.magicsock.errors import PingTimeoutError, UnknownPeerError
from appliance.magicsock.service import MagicsockService, resolve_by_host
from appliance.ports.clock import SystemClock
from appliance.ports.events import EventBus
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import PeerPath
from appliance.proto.stun import encode_request, encode_response, is_stun, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.events import EndpointsChanged, HomeDerpChanged, PathChanged, PathKind
from appliance.types.ids import RegionId
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion, NetmapDiff, Node

STUN = AddrPort("127.0.0.1", 3478)


class Relay:
    """A DERP twin in the same loop, for as many services as like."""

    def __init__(self):
        self.pools = {}

    def pool(self, key):
        def factory(sink):
            made = self.pools[key] = RelayPool(self, key, sink)
            return made

        return factory


class RelayPool:
    def __init__(self, relay, key, sink):
        self.relay, self.key, self.sink = relay, key, sink
        self.home, self.closed, self.rebinds, self.private = RegionId(0), False, 0, None

    def set_private_key(self, key):
        self.private = key

    def set_derp_map(self, derp_map):
        self.map = derp_map

    def set_home(self, region):
        self.home = region

    def send(self, peer, home, packets):
        target = self.relay.pools.get(peer)
        if target is not None:
            asyncio.get_running_loop().call_soon(target.sink.derp_received, home, self.key, list(packets))
        return target is not None

    def last_frame_at(self, region):
        return None

    def connected_regions(self):
        return [self.home] if self.home else []

    async def measure_https(self, region):
        return 0.05

    async def rebind(self):
        self.rebinds += 1

    async def close(self):
        self.closed = True


class Wire:
    """An engine's port on a wire that delivers in the same loop; answers STUN."""

    def __init__(self, ip, wires):
        self.local, self.wires, self.sink = AddrPort(ip, 41641), wires, None
        self.paths, self.injected, self.rebinds = {}, [], []
        wires[self.local] = self

    def set_sink(self, sink):
        self.sink = sink

    def local_ports(self):
        return (AddrPort("0.0.0.0", 41641),)

    def send_datagrams(self, batch):
        loop = asyncio.get_running_loop()
        for to, data in batch:
            if is_stun(data):
                answer = encode_response(parse_request(data), self.local)
                loop.call_soon(self.sink.datagrams_received, [(to, answer)])
            elif (target := self.wires.get(to)) is not None:
                loop.call_soon(target.sink.datagrams_received, [(self.local, data)])

    def set_path(self, peer, path):
        self.paths[peer] = path

    def inject(self, peer, packets):
        self.injected += packets

    def rebind(self, port=0):
        self.rebinds.append(port)


def derp_map(ipv4="203.0.113.1"):
    node = DerpNode("1a", RegionId(1), "derp.example", ipv4=ipv4, ipv6="none")
    return DerpMap({RegionId(1): DerpRegion(RegionId(1), "r1", "R1", (node,))})


class Site:
    def __init__(self, number, wires, relay):
        self.private = NodePrivateKey(clamp(bytes([number]) * 32))
        from appliance.crypto.x25519 import public_key

        self.key: NodePublicKey = public_key(self.private)
        self.number = number
        self.bus, self.events = EventBus(), []
        for kind in (PathChanged, EndpointsChanged, HomeDerpChanged):
            self.bus.subscribe(kind, self.events.append)
        self.wire = Wire(f"192.0.2.{number}", wires)
        self.service = MagicsockService(
            self.wire, relay.pool(self.key), SystemClock(), SeededRandomness(number), self.bus,
            lambda: [ip_address(f"192.0.2.{number}")],
        )  # fmt: skip
        self.pool = relay.pools[self.key]

    def node(self):
        return Node(
            self.number, f"n{self.number}", f"n{self.number}.example.", self.key,
            disco_key=self.service.disco_public_key, home_derp=RegionId(1),
            endpoints=(self.wire.local,),
        )  # fmt: skip

    async def start(self):
        self.service.set_private_key(self.private)
        self.service.set_derp_map(derp_map())
        await self.service.start()


@pytest.fixture
async def sites():
    wires, relay = {}, Relay()
    pair = (Site(1, wires, relay), Site(2, wires, relay))
    for site, other in (pair, pair[::-1]):
        await site.start()
        site.service.apply(NetmapDiff(full=True, changed={other.number: other.node()}), site.node())
    yield pair
    for site in pair:
        await site.service.close()


async def eventually(true):
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0)


async def test_ok__two_services_find_a_direct_path(sites):
    a, b = sites
    a.wire.sink.peer_wanted(b.key)
    assert a.wire.paths[b.key] == PeerPath(relay=True)
    await eventually(lambda: a.wire.paths[b.key] == PeerPath(direct=b.wire.local))
    status = a.service.status(b.key)
    assert (status.kind, status.endpoint) == (PathKind.DIRECT, b.wire.local)
    assert [e.kind for e in a.events if isinstance(e, PathChanged)] == [PathKind.DERP, PathKind.DIRECT]


async def test_ok__ping_says_how_it_went(sites):
    a, b = sites
    result = await a.service.ping(b.key, 3)
    assert result.via in (PathKind.DIRECT, PathKind.DERP)
    await eventually(lambda: a.service.status(b.key).kind == PathKind.DIRECT)
    result = await a.service.ping(b.key, 3)
    assert (result.via, result.endpoint) == (PathKind.DIRECT, b.wire.local)
    assert result.latency_s < 3


async def test_fail__ping_without_answer_and_to_nobody(sites):
    a, b = sites
    await b.service.close()
    del a.wire.wires[b.wire.local], a.pool.relay.pools[b.key]
    with pytest.raises(PingTimeoutError) as error:
        await a.service.ping(b.key, 0.02)
    assert error.value.mend
    with pytest.raises(UnknownPeerError):
        await a.service.ping(a.key, 1)


async def test_ok__netcheck_reports(sites):
    a, _ = sites
    report = await a.service.netcheck()
    assert report.full
    assert report.udp
    assert report.global_v4 == a.wire.local
    assert a.service.last_report() == report
    info = a.service.net_info()
    assert (info.working_udp, info.preferred_derp) == (True, 1)


async def test_ok__endpoints_and_home_are_published(sites):
    a, _ = sites
    await eventually(lambda: any(isinstance(e, EndpointsChanged) for e in a.events))
    assert [e.addr_port for e in a.service.endpoints] == [a.wire.local]
    assert HomeDerpChanged(RegionId(1)) in a.events
    assert a.service.home_region == 1
    assert list(a.service.connected_regions) == [1]
    assert a.pool.private == a.private


async def test_ok__major_link_change_rebinds_both_sides(sites):
    a, _ = sites
    a.service.link_changed(major=True)
    await eventually(lambda: a.pool.rebinds == 1)
    assert a.wire.rebinds == [0]


async def test_ok__names_are_resolved_by_the_resolver_given():
    asked = []

    async def resolver(name):
        asked.append(name)
        return (ip_address("203.0.113.9"),)

    wires, relay = {}, Relay()
    site = Site(3, wires, relay)
    site.service._resolver = resolver
    site.service.set_private_key(site.private)
    site.service.set_derp_map(derp_map(ipv4=""))
    await site.service.start()
    report = await site.service.netcheck()
    assert asked == ["derp.example"]
    assert report.udp
    await site.service.close()


async def test_ok__static_endpoints_are_offered(sites):
    a, _ = sites
    fixed = AddrPort("198.51.100.77", 41641)
    a.service.set_static_endpoints([fixed])
    await eventually(lambda: fixed in [e.addr_port for e in a.service.endpoints])


async def test_ok__interfaces_that_cannot_be_read_keep_the_last(sites):
    a, _ = sites
    before = a.service.interface_addresses()

    def refuse():
        raise OSError("netlink")

    a.service._interfaces = refuse
    assert a.service.interface_addresses() == before


async def test_ok__close_twice_and_nothing_runs_on(sites):
    a, _ = sites
    await a.service.close()
    await a.service.close()
    assert a.pool.closed
    assert a.service._timer is None


async def test_ok__disco_keys_are_new_in_every_process():
    wires, relay = {}, Relay()
    first, second = Site(4, wires, relay), Site(5, wires, relay)
    assert first.service.disco_public_key != second.service.disco_public_key


async def test_ok__host_resolver():
    assert ip_address("127.0.0.1") in await resolve_by_host("127.0.0.1")
    assert await resolve_by_host("name.invalid") == ()


async def test_ok__hairpin_is_seen_when_the_router_turns_packets_around(sites):
    a, _ = sites
    loop = asyncio.get_running_loop()
    await a.service.netcheck()
    sent = []

    def turned_around(to, data):
        sent.append(to)
        loop.call_soon(a.wire.sink.datagrams_received, [(AddrPort("192.0.2.1", 999), data)])

    assert await a.service.hairpins(turned_around) is True
    assert sent == [a.wire.local]
    assert await a.service.hairpins(lambda to, data: sent.append(to)) is False
    before = a.service.counters().get("stun_bad_type", 0)
    turned_around(a.wire.local, encode_request(bytes(12)))
    await eventually(lambda: a.service.counters().get("stun_bad_type", 0) == before + 1)


async def test_ok__without_an_outside_address_hairpin_is_unknown():
    wires, relay = {}, Relay()
    alone = Site(3, wires, relay)
    assert await alone.service.hairpins(lambda to, data: None) is None
    await alone.service.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [(0.05, 0.05), (TimeoutError(), inf), (PermissionError(), None), (OSError("no route"), None)],
)
async def test_ok__icmp_echo_of_a_region(answer, told):
    asked = []

    async def echo(address, timeout_s):
        asked.append(str(address))
        if isinstance(answer, Exception):
            raise answer
        return answer

    relay = Relay()
    service = MagicsockService(
        Wire("192.0.2.9", {}), relay.pool(None), SystemClock(), SeededRandomness(9), EventBus(), list, echo=echo
    )
    service.set_derp_map(derp_map())
    assert await service._measure_icmp(RegionId(1)) == told
    assert asked == ["203.0.113.1"]
    assert await service._measure_icmp(RegionId(7)) is None
    await service.close()
