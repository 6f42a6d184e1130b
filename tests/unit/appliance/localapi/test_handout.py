"""Sockets that change hands, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.localapi.handout import HandoutServer
from appliance.localapi.handout_client import take_socket
from appliance.localapi.mesh_routes import MemoryMesh
from appliance.localapi.mesh_schema import DialRequest, ListenRequest, handout_socket
from appliance.types.errors import ApplianceError


@pytest.fixture
def mesh() -> MemoryMesh:
    return MemoryMesh()


@pytest.fixture
async def localapi(mesh: MemoryMesh, tmp_path: Path) -> AsyncIterator[str]:
    path = str(tmp_path / "waypostd.sock")
    server = HandoutServer(mesh, handout_socket(path), lambda: None)
    server.start()
    running = asyncio.ensure_future(server.run())
    yield path
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.close()
    assert not Path(handout_socket(path)).exists()


async def test_ok__listener_and_connection_meet(localapi: str, mesh: MemoryMesh) -> None:
    loop = asyncio.get_running_loop()
    with await take_socket(localapi, ListenRequest(port=0)) as listener:
        port = listener.getsockname()[1]
        with await take_socket(localapi, DialRequest(host="peer", port=port)) as stream:
            assert not stream.get_inheritable()
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                await loop.sock_sendall(stream, b"hello")
                assert await loop.sock_recv(accepted, 9) == b"hello"
    assert mesh.asked == [ListenRequest(port=0), DialRequest(host="peer", port=port)]


async def test_ok__many_at_once(localapi: str) -> None:
    taken = await asyncio.gather(*(take_socket(localapi, ListenRequest(port=0)) for _ in range(40)))
    assert len({item.getsockname()[1] for item in taken}) == 40
    for item in taken:
        item.close()


async def test_fail__refusals_carry_text_and_mend(localapi: str, mesh: MemoryMesh) -> None:
    mesh.refuse_with = ApplianceError("no such peer", mend="look", code="no-such-peer")
    with pytest.raises(ApplianceError) as caught:
        await take_socket(localapi, DialRequest(host="x", port=1))
    assert (caught.value.text, caught.value.mend, caught.value.code) == ("no such peer", "look", "no-such-peer")


async def test_fail__strangers_get_nothing(localapi: str, mesh: MemoryMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.localapi.handout.may_write", lambda _uid, _operator: False)
    with pytest.raises(ApplianceError) as caught:
        await take_socket(localapi, ListenRequest(port=0))
    assert caught.value.code == "refused"
    assert mesh.asked == []


@pytest.mark.parametrize(
    "garbage", [b"{", b"[]", b'{"type": "reboot"}', b'{"type": "dial", "host": 7, "port": 1}', b"\xff"]
)
async def test_fail__garbage_is_answered_and_forgotten(localapi: str, garbage: bytes) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as line:
        await loop.sock_connect(line, handout_socket(localapi))
        await loop.sock_sendall(line, garbage)
        assert b"bad-request" in await loop.sock_recv(line, 4096)
    (await take_socket(localapi, ListenRequest(port=0))).close()


async def test_ok__callers_that_go_away_are_forgotten(localapi: str) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(handout_socket(localapi))
    (await take_socket(localapi, ListenRequest(port=0))).close()


async def test_fail__nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as caught:
        await take_socket(str(tmp_path / "waypostd.sock"), ListenRequest(port=0))
    assert caught.value.code == "daemon-unreachable"
