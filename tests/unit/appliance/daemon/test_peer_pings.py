"""Pings of each kind to a peer, and control's wish for them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace

import pytest

from appliance.daemon.peer_pings import EchoFailedError, PeerPinger, UnknownPingError
from appliance.daemon.tsmp import TsmpAnswer
from appliance.magicsock.errors import PingTimeoutError, UnknownPeerError
from appliance.magicsock.status import PathStatus, PingResult
from appliance.peerapi.probe import ProbeFailedError
from appliance.ports.clock import SystemClock
from appliance.ports.streams import MemoryDialer
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.events import PathKind
from appliance.types.ids import NodeId, RegionId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import DerpMap, DerpRegion, Node

OWN = Node(
    NodeId(1),
    StableNodeId("n1"),
    "gw1.mesh.",
    NodePublicKey(b"\x01" * 32),
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
)
PEER = replace(
    OWN,
    id=NodeId(2),
    name="gw2.mesh.",
    key=NodePublicKey(b"\x02" * 32),
    addresses=(ip_network("100.64.0.2/32"),),
    services=(("peerapi4", 4444, ""),),
)
REGION = RegionId(7)


class Magicsock:
    error: Exception | None = None

    async def ping(self, peer, timeout_s):
        if self.error is not None:
            raise self.error
        return PingResult(peer, PathKind.DERP, 0.02, None, REGION)

    def status(self, peer):
        return PathStatus(peer, PathKind.DIRECT, True, AddrPort("192.0.2.2", 41641), REGION)


class Rig:
    def __init__(self) -> None:
        self.dialer = MemoryDialer()
        self.echo: float | OSError = 0.03
        self.pong: TsmpAnswer | None = TsmpAnswer(0.04, 58436)
        derp_map = DerpMap({REGION: DerpRegion(REGION, "lab", "Lab")})
        view = SimpleNamespace(
            self_node=OWN,
            derp_map=derp_map,
            peer_by_address=lambda address: PEER if str(address) == "100.64.0.2" else None,
        )
        self.magicsock = Magicsock()
        self.pinger = PeerPinger(self.magicsock, self, self.dialer, self.icmp, lambda: view, SystemClock())

    async def icmp(self, address, timeout_s):
        assert str(address) == "100.64.0.2"
        if isinstance(self.echo, OSError):
            raise self.echo
        return self.echo

    async def ping(self, peer, timeout_s):
        """As `TsmpService.ping`."""
        if self.pong is None:
            raise PingTimeoutError("no answer")
        return self.pong


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_ok__disco_tells_its_path(rig):
    found = await rig.pinger.ping(PEER, "disco", 1)
    assert (found.via, found.region, found.latency_s) == (PathKind.DERP, REGION, 0.02)


async def test_fail__people_read_the_peers_name_not_its_key(rig):
    short = PEER.key.short
    rig.magicsock.error = PingTimeoutError(f"no answer from {short}")
    with pytest.raises(PingTimeoutError, match="no answer from gw2 within 1 s"):
        await rig.pinger.ping(PEER, "disco", 1)
    rig.magicsock.error = UnknownPeerError(f"{short} is not a peer")
    with pytest.raises(UnknownPeerError, match="gw2 cannot be pinged now"):
        await rig.pinger.ping(PEER, "disco", 1)
    with pytest.raises(UnknownPeerError, match="the login of gw2 has expired"):
        await rig.pinger.ping(replace(PEER, expired=True), "disco", 1)


async def test_ok__others_go_by_the_tunnels_path(rig):
    for kind, latency_s, port in (("TSMP", 0.04, 58436), ("ICMP", 0.03, 0)):
        found = await rig.pinger.ping(PEER, kind, 1)
        assert (found.latency_s, found.peerapi_port) == (latency_s, port)
        assert (found.via, found.endpoint, found.region) == (PathKind.DIRECT, AddrPort("192.0.2.2", 41641), None)


async def test_ok__peerapi(rig):
    async def serve(stream):
        await stream.read()
        stream.write(b"HTTP/1.1 200 OK\r\n\r\n")

    rig.dialer.servers["100.64.0.2", 4444] = serve
    assert (await rig.pinger.ping(PEER, "peerapi", 5)).peerapi_port == 4444


async def test_fail__nothing_there(rig):
    with pytest.raises(ProbeFailedError):
        await rig.pinger.ping(PEER, "peerapi", 1)
    with pytest.raises(ProbeFailedError, match="offers no peer API"):
        await rig.pinger.ping(replace(PEER, services=()), "peerapi", 1)
    with pytest.raises(EchoFailedError, match="in common"):
        await rig.pinger.ping(replace(PEER, addresses=()), "ICMP", 1)
    with pytest.raises(UnknownPingError):
        await rig.pinger.ping(PEER, "smoke", 1)


@pytest.mark.parametrize(("error", "words"), [(TimeoutError(), "within"), (PermissionError(1, "not permitted"), "not")])
async def test_fail__no_echo(rig, error, words):
    rig.echo = error
    with pytest.raises(EchoFailedError, match=words):
        await rig.pinger.ping(PEER, "ICMP", 1)


async def test_ok__control_gets_one_answer_per_kind(rig):
    rig.pong = None
    wish = wire.PingRequest(types="disco, TSMP,ICMP,smoke", ip="100.64.0.2")
    disco, tsmp, icmp, smoke = await rig.pinger.answer_control(wish)
    assert (disco.type, disco.err, disco.derp_region_id, disco.derp_region_code) == ("disco", "", 7, "lab")
    assert (disco.ip, disco.node_ip, disco.node_name) == ("100.64.0.2", "100.64.0.2", "gw2.mesh")
    assert (tsmp.type, tsmp.err) == ("TSMP", "no answer")
    assert (icmp.type, icmp.latency_seconds, icmp.endpoint) == ("ICMP", 0.03, "192.0.2.2:41641")
    assert "smoke" in smoke.err


@pytest.mark.parametrize("ip", ["100.64.0.9", "nonsense", ""])
async def test_fail__control_names_nobody(rig, ip):
    assert await rig.pinger.answer_control(wire.PingRequest(types="disco", ip=ip)) == ()
