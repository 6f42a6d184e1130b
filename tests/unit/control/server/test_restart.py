"""A restart of the server: nodes notice no more than a reconnect."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.keys import MachinePrivateKey, NodePrivateKey
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from control.service.presence import _COMEBACK_S
from control.service.service import open_service
from control.service.settings import ServiceSettings
from tests.lab.control_node import ConnectionEnded, ControlNode, server_key
from tests.lab.control_process import free_port

pytestmark = [pytest.mark.timeout(60)]

ROUTE = "192.168.7.0/24"


async def follow(node: ControlNode) -> None:
    with contextlib.suppress(ConnectionEnded):
        await node.follow(lambda response: None)


async def join(server: RunningServer, name: str, routes: list[str]) -> ControlNode:
    port = server.port
    node = ControlNode("127.0.0.1", port, await server_key("127.0.0.1", port), name, routes=routes)
    await node.connect()
    _, secret = await server.service.keys.create(SYSTEM, user="demo")
    assert (await node.register(secret)).machine_authorized
    return node


async def test_ok__the_first_node_back_sees_the_others_as_they_were(tmp_path: Path) -> None:
    settings = ServerSettings(
        data_dir=tmp_path, listen=AddrPort("127.0.0.1", free_port()), derp_host=None, tls_fallback=None
    )
    async with asyncio.TaskGroup() as tasks:
        async with running(settings) as server:
            await server.service.users.create(SYSTEM, "demo")
            away = await join(server, "away", [])
            away.close()
            router, laptop = await join(server, "router", [ROUTE]), await join(server, "laptop", [])
            await server.service.routes.approve(SYSTEM, "router", [ROUTE])
            for node in (router, laptop):
                tasks.create_task(follow(node))
            async with asyncio.timeout(5):
                await laptop.until(lambda netmap: any(ROUTE in (p.allowed_ips or ()) for p in netmap.peers.values()))
        for node in (router, laptop):
            node.close()
        async with running(settings):
            await laptop.connect()
            peers = {peer.name.partition(".")[0]: peer for peer in (await laptop.map_once()).peers}
            assert peers["router"].online
            assert ROUTE in (peers["router"].allowed_ips or ())
            assert router.node_key == peers["router"].key
            laptop.close()


async def test_ok__who_does_not_come_back_goes_offline(tmp_path: Path) -> None:
    """On a virtual clock, at the service."""
    clock, settings = VirtualClock(), ServiceSettings(domain="mesh.test")
    service = await open_service(tmp_path, settings, clock=clock, randomness=SeededRandomness(1))
    await service.users.create(SYSTEM, "demo")
    _, secret = await service.keys.create(SYSTEM, user="demo")
    machine, key = (
        public_key(kind(clamp(bytes([n]) * 32))) for n, kind in ((1, MachinePrivateKey), (2, NodePrivateKey))
    )
    request = wire.RegisterRequest(version=130, node_key=str(key), auth=wire.Auth(auth_key=secret))
    await service.register(machine, request, "192.0.2.1")
    (number,) = service.view().nodes
    service.session_started(number)
    service.session_ended(number)
    await service.close()
    service = await open_service(tmp_path, settings, clock=clock, randomness=SeededRandomness(1))
    assert service.view().is_online(number)
    clock.advance(_COMEBACK_S - 1)
    await service.sweep()
    assert service.view().is_online(number)
    clock.advance(2)
    await service.sweep()
    assert not service.view().is_online(number)
    await service.close()
