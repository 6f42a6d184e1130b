"""Handshakes of many nodes at once: a few a turn of the loop, all of them in the end. The end of all tunnels."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.crypto.x25519 import public_key
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.http1.head import parse_request_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.addresses import AddrPort
from control.noise import upgrade
from control.server.app import running
from control.server.settings import ServerSettings
from tests.lab.control_node import ControlNode, server_key
from tests.unit.control.noise.test_connection import MACHINE, SERVER, Handler, Wire

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


class Tunnelled(Wire):
    """A transport that tells its protocol of its end: when closed, or, `slow`, only when aborted."""

    def __init__(self, *, slow: bool) -> None:
        super().__init__()
        self._slow = slow
        self._protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def close(self) -> None:
        super().close()
        if not self._slow:
            self._lost()

    def abort(self) -> None:
        super().abort()
        self._lost()

    def _lost(self) -> None:
        assert isinstance(self._protocol, asyncio.Protocol)
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


async def test_ok__close_drops_what_does_not_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "STOP_GRACE_S", 0.05)
    async with asyncio.TaskGroup() as tasks:
        noise = upgrade.NoiseUpgrade(SERVER, Handler(), tasks.create_task, SeededRandomness(1))
        client = ClientTunnel("h", Initiator(MACHINE, public_key(SERVER), version=130, ephemeral_seed=bytes(32)))
        found = parse_request_head(client.data_to_send())
        assert found is not None
        quick, slow = Tunnelled(slow=False), Tunnelled(slow=True)
        for transport in (quick, slow):
            noise.take(transport, found[0], b"")
            assert transport.written.startswith(b"HTTP/1.1 101")
        await noise.close()
        assert (quick.closes, quick.aborted) == (1, False)
        assert (slow.closes, slow.aborted) == (1, True)
