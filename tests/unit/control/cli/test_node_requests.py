"""`nodes ping` and `nodes c2n` against a real admin socket; the nodes' answers are given."""

from __future__ import annotations

import asyncio
import json

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.proto.http1.head import encode_response, parse_request_head
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.cli.main import run
from control.server.admin import admin_socket
from control.service.actor import SYSTEM
from control.service.service import open_service
from control.service.settings import ServiceSettings


class Node:
    """Echoes c2n requests, lives, and pings in 10 ms by DERP except by peerapi."""

    silent = False

    def now(self) -> float:
        return 0.0

    async def ask(self, node, request, answers, limit_s):
        if self.silent:
            return []
        if request.types == "c2n":
            head, size = parse_request_head(request.payload)
            if head.path.startswith("/waypost/settings"):
                refused = b"hostname is wrong (give another)\n" if b"-bad-" in request.payload else b""
                return [encode_response(409 if refused else 200, refused or b'{"shields_up":true}')]
            return [
                encode_response(200 if head.path == "/echo" else 400, request.payload[size:] or b"unknown c2n path")
            ]
        return [self._pong(kind) for kind in request.types.split(",")]

    def _pong(self, kind):
        if kind == "peerapi":
            return wire.encode(wire.PingResponse(type=kind, err="gw2 offers no peer API"))
        return wire.encode(wire.PingResponse(type=kind, latency_seconds=0.01, derp_region_code="lab", peer_api_port=9))


@pytest.fixture
async def node():
    return Node()


@pytest.fixture
async def shell(tmp_path, capsys, node):
    settings = ServiceSettings(domain="net.example")
    service = await open_service(tmp_path, settings, clock=VirtualClock(), randomness=SeededRandomness(1))
    service.requests.connect(node)
    await service.users.create(SYSTEM, "ann")
    for number in (1, 2):
        _, key = await service.keys.create(SYSTEM, user="ann")
        request = wire.RegisterRequest(
            version=130,
            node_key=str(NodePublicKey(bytes([number]) * 32)),
            auth=wire.Auth(auth_key=key),
            hostinfo=wire.Hostinfo(hostname=f"gw{number}"),
        )
        await service.register(MachinePublicKey(bytes([number]) * 32), request, "")
    path = tmp_path / "admin.sock"

    async def command(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, ["nodes", *arguments, "--socket", str(path)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    async with admin_socket(path)(service):
        yield command
    await service.close()


async def test_ok__ping(shell):
    assert await shell("ping", "gw1") == (0, "gw1 answers in 0.0 ms\n", "")


async def test_ok__ping_of_a_peer(shell):
    code, out, _ = await shell("ping", "gw1", "--to", "gw2", "--type", "TSMP")
    assert (code, out) == (0, "gw1 to gw2, TSMP: pong via DERP lab in 10.0 ms, peer API on port 9\n")


async def test_fail__peer_does_not_answer(shell):
    code, out, _ = await shell("ping", "gw1", "--to", "gw2", "--type", "disco,peerapi")
    assert code == 1
    assert "disco: pong" in out
    assert "peerapi: gw2 offers no peer API" in out


async def test_ok__c2n(shell):
    assert (await shell("c2n", "gw1", "/echo", "-X", "POST", "-d", "hello"))[:2] == (0, "hello\n")
    code, out, _ = await shell("c2n", "gw1", "/echo", "-d", "x", "--json")
    assert (code, json.loads(out)["status"]) == (0, 200)


async def test_fail__c2n_refused(shell):
    assert await shell("c2n", "gw1", "/nothing") == (1, "", "HTTP 400: unknown c2n path\n")


async def test_ok__settings_on_trial_and_kept(shell):
    code, out, _ = await shell("set", "gw1", "shields_up=true", "--confirm-within", "30s")
    assert code == 0
    assert "on trial: they go back in 30 s" in out
    assert "nodes confirm gw1" in out
    code, out, _ = await shell("confirm", "gw1", "--json")
    assert (code, json.loads(out)) == (0, {"shields_up": True})


async def test_fail__settings_refused(shell):
    code, out, err = await shell("set", "gw1", "hostname=-bad-")
    assert (code, out) == (1, "")
    assert "gw1 refuses: hostname is wrong (give another)" in err
    assert (await shell("set", "gw1", "shields_up=true", "--confirm-within", "1s"))[0] == 2


async def test_fail__node_is_silent(shell, node):
    node.silent = True
    for arguments in (("ping", "gw1"), ("c2n", "gw1", "/echo")):
        code, out, err = await shell(*arguments)
        assert (code != 0, out) == (True, "")
        assert "gw1 does not answer" in err
