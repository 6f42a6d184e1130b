"""Handshakes of many nodes at once: a few a turn of the loop, all of them in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.types.addresses import AddrPort
from control.noise import upgrade
from control.server.app import running
from control.server.settings import ServerSettings
from tests.lab.control_node import ControlNode, server_key

NODES = 12


@pytest.mark.timeout(60)
async def test_ok__many_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "HANDSHAKES_PER_TURN", 2)
    turn, begun, begin = 0, list[int](), upgrade.NoiseUpgrade._begin

    def noted(self: upgrade.NoiseUpgrade, *arguments: object) -> None:
        begun.append(turn)
        begin(self, *arguments)  # type: ignore[arg-type]  # passed on as it is

    monkeypatch.setattr(upgrade.NoiseUpgrade, "_begin", noted)
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None)
    async with running(settings) as server:
        key = await server_key("127.0.0.1", server.port)
        nodes = [ControlNode("127.0.0.1", server.port, key, f"n{number}") for number in range(NODES)]
        connecting = asyncio.gather(*(node.connect() for node in nodes))
        while not connecting.done() or len(begun) < NODES:
            turn += 1
            await asyncio.sleep(0)
        assert len(begun) == NODES
        assert max(begun.count(one) for one in begun) <= 2 * 2, "a turn begins before or after the count"
        for node in nodes:
            assert (await node.ask("GET", "/machine/whoami"))[0] == 200
        for node in nodes:
            node.close()
