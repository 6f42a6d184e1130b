"""A shell before a real admin socket with a real service behind it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control.messages import Auth, Hostinfo, RegisterRequest
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.cli.main import run
from control.server.admin import admin_socket
from control.service.service import ControlService, open_service
from control.service.settings import ServiceSettings


@dataclass
class Shell:
    """Runs commands in a thread, since they block, while the server runs in the loop."""

    service: ControlService
    socket: str
    capsys: pytest.CaptureFixture

    async def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self.capsys.readouterr()
        result = await asyncio.to_thread(run, [*arguments, "--socket", self.socket])
        printed = self.capsys.readouterr()
        assert result == code, printed
        return printed.out, printed.err

    async def json(self, *arguments: str):
        return json.loads((await self.run(*arguments, "--json"))[0])

    async def join(self, number: int, key: str, **info) -> None:
        request = RegisterRequest(
            version=130,
            node_key=str(NodePublicKey(bytes([number]) * 32)),
            auth=Auth(auth_key=key),
            hostinfo=Hostinfo(hostname=f"gw{number}", **info),
        )
        answer = await self.service.register(MachinePublicKey(bytes([number]) * 32), request, "")
        assert answer.error == ""


@pytest.fixture
async def shell(tmp_path, capsys):
    service = await open_service(
        tmp_path, ServiceSettings(domain="net.example"), clock=VirtualClock(), randomness=SeededRandomness(1)
    )
    path = tmp_path / "run" / "admin.sock"
    async with admin_socket(path)(service):
        yield Shell(service, str(path), capsys)
    assert not path.exists()
    await service.close()
