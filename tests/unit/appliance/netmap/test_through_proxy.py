"""A control server with a private CA, behind an HTTP proxy: login by URL and the map stream."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.drivers.proxy import ProxyRules, parse_proxy
from appliance.drivers.streams import SocketDialer
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.errors import ControlUnreachable
from appliance.netmap.login import NodeKeys, VisitUrl
from appliance.ports.clock import SystemClock
from appliance.ports.events import EventBus
from appliance.ports.randomness import SystemRandomness
from appliance.ports.resolver import MemoryResolver
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.keys import MachinePrivateKey, NodePrivateKey
from control.server.app import running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.unit.appliance.drivers.certs import make
from tests.unit.appliance.drivers.test_proxy import ConnectProxy
from tests.unit.appliance.drivers.test_streams import echo

pytestmark = pytest.mark.timeout(30)
"""Client and server whole, over sockets."""

RANDOM = SystemRandomness()


def make_keys() -> NodeKeys:
    private = NodePrivateKey(clamp(RANDOM.bytes(32)))
    return NodeKeys(private, public_key(private))


def client_at(url: str, proxy_port: int, ca_file: str) -> ControlClient:
    proxy = parse_proxy(f"http://proxy.example:{proxy_port}", "here")
    resolver = MemoryResolver({"proxy.example": (ip_address("127.0.0.1"),)})
    settings = ControlSettings(
        url, MachinePrivateKey(clamp(RANDOM.bytes(32))), make_keys, lambda _keys: None, ca_file=ca_file
    )
    return ControlClient(
        settings,
        dialer=SocketDialer(resolver, mark=0, proxies=ProxyRules(proxy, proxy)),
        clock=SystemClock(),
        randomness=RANDOM,
        bus=EventBus(),
        keys=None,
        hostinfo=wire.Hostinfo(os="linux", hostname="gw", backend_log_id="0" * 64),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_ok__login_and_map(tmp_path: Path, scheme: str) -> None:
    pem, _ = make(tmp_path, names=("control.example",))
    port, proxy = free_port(), ConnectProxy()
    tls = {"tls_certificate": pem, "tls_key": pem} if scheme == "https" else {}
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", port), derp_host=None, stun_port=0, **tls)
    async with echo(answer=proxy) as proxy_port, running(settings) as server:
        await server.service.users.create(SYSTEM, "ann")
        client = client_at(f"{scheme}://control.example:{port}", proxy_port, str(pem))
        outcome = await client.login()
        assert isinstance(outcome, VisitUrl)
        waiting = asyncio.ensure_future(client.finish_login())
        await server.service.logins.approve(SYSTEM, outcome.url, "ann")
        assert (await waiting).login_name == "ann"
        await client.verify()
        task = asyncio.ensure_future(client.run())
        async with asyncio.timeout(20):
            while not client.is_connected:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert proxy.heads
    assert all(head.startswith("CONNECT control.example:") for head in proxy.heads)


async def test_fail__unknown_ca(tmp_path: Path) -> None:
    pem, _ = make(tmp_path, names=("control.example",))
    settings = ServerSettings(
        data_dir=tmp_path,
        listen=AddrPort("127.0.0.1", free_port()),
        derp_host=None,
        stun_port=0,
        tls_certificate=pem,
        tls_key=pem,
    )
    async with echo(answer=ConnectProxy()) as proxy_port, running(settings) as server:
        client = client_at(f"https://control.example:{server.port}", proxy_port, "")
        with pytest.raises(ControlUnreachable, match="certificate"):
            await client.login()
        await client.close()
