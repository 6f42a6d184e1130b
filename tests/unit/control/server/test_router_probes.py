"""A pair of routers over real tunnels: one stops answering while its stream stays open."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from control.server.app import running
from control.server.settings import ServerSettings
from control.service import router_probes
from control.service.actor import SYSTEM
from tests.lab.control_node import ControlNode, server_key

pytestmark = [pytest.mark.timeout(60)]

LAN = "192.168.7.0/24"


class Router(ControlNode):
    """Answers the server's questions unless `silent`."""

    silent = False

    def answer(self, response: wire.MapResponse) -> None:
        if response.ping_request is not None and not self.silent:
            self._tunnel.request("POST", urlsplit(response.ping_request.url).path, b"")
            self._flush()


async def test_ok__a_silent_router_loses_its_subnet(tmp_path, monkeypatch):
    monkeypatch.setattr(router_probes, "PROBE_EVERY_S", 0.3)
    settings = ServerSettings(
        data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None, domain="mesh.test"
    )
    async with running(settings) as one, asyncio.TaskGroup() as group:
        await one.service.users.create(SYSTEM, "ann")
        nodes = []
        for name, routes in (("first", [LAN]), ("second", [LAN]), ("viewer", [])):
            _, secret = await one.service.keys.create(SYSTEM, user="ann")
            node = Router("127.0.0.1", one.port, await server_key("127.0.0.1", one.port), name, routes=routes)
            await node.connect()
            assert (await node.register(secret)).machine_authorized
            if routes:
                await one.service.routes.approve(SYSTEM, name, [])
            nodes.append(node)
        viewer = nodes[2]
        following = [group.create_task(node.follow(node.answer)) for node in nodes]

        def server(number: int):
            """Whether the viewer was told that just this node serves the network."""
            return lambda netmap: (
                [
                    peer.name.partition(".")[0]
                    for peer in netmap.peers.values()
                    if LAN in (peer.allowed_ips or []) and peer.primary_routes == [LAN]
                ]
                == [nodes[number].name]
            )

        await viewer.until(lambda netmap: server(0)(netmap) or server(1)(netmap))
        serving = 0 if server(0)(viewer.netmap) else 1
        monkeypatch.setattr(router_probes, "PROBE_LIMIT_S", 0.5)
        nodes[serving].silent = True
        await viewer.until(server(1 - serving))
        assert all(peer.online for peer in viewer.netmap.peers.values())
        nodes[serving].silent = False
        while not all(state.well for state in one.service.routes.list(SYSTEM)):
            await asyncio.sleep(0.02)
        assert server(1 - serving)(viewer.netmap)
        for task, node in zip(following, nodes, strict=True):
            task.cancel()
            node.close()
