"""Requests of nodes where many come at once; single ones are in test_end_to_end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.types.addresses import AddrPort
from control.server import machine
from control.server.app import running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.control_node import ControlNode, server_key

NODES = 12


@pytest.mark.timeout(60)
async def test_ok__maps_of_many_leave_turns_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None)
    async with running(settings) as server:
        await server.service.users.create(SYSTEM, "demo")
        _, secret = await server.service.keys.create(SYSTEM, user="demo", reusable=True)
        key = await server_key("127.0.0.1", server.port)
        nodes = [ControlNode("127.0.0.1", server.port, key, f"n{number}") for number in range(NODES)]
        for node in nodes:
            await node.connect()
            assert (await node.register(secret)).machine_authorized
        monkeypatch.setattr(machine, "MAPS_TURN_S", 0.0)
        turn, opened, open_map = 0, list[int](), server.hub.open

        def noted(*arguments: object) -> object:
            opened.append(turn)
            return open_map(*arguments)  # type: ignore[arg-type]  # passed on as it is

        monkeypatch.setattr(server.hub, "open", noted)
        streams = [asyncio.ensure_future(node.follow(lambda _: None)) for node in nodes]
        while len(opened) < NODES:
            turn += 1
            await asyncio.sleep(0)
        assert len(set(opened)) == NODES, "the time is up after each, so each has its own turn of the loop"
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        for node in nodes:
            node.close()
