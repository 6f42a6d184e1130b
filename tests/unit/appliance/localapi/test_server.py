from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest

from appliance.localapi.access import may_write
from appliance.localapi.backend import MemoryBackend
from appliance.localapi.schema import (
    HOST,
    ErrorReply,
    EventLine,
    LoopDelay,
    PeerStatus,
    PrefsPatch,
    PrefsView,
    Status,
    UpReply,
    UpRequest,
)
from appliance.localapi.server import LocalApiServer
from appliance.types.errors import ConfigError, ControlError, PrivilegeError
from appliance.types.events import BackendState

pytestmark = pytest.mark.timeout(30)
"""Processes are started."""

BASE = f"http://{HOST}/v1"


def memory_backend() -> MemoryBackend:
    view = PrefsView(
        want_running=True,
        logged_out=False,
        control_url="",
        hostname="",
        advertise_tags=(),
        shields_up=False,
        operator="",
        plugins={},
    )
    peer = PeerStatus(stable_id="n2", name="b.example")
    return MemoryBackend(Status(version="1", state=BackendState.RUNNING, peers=(peer,)), view)


@pytest.fixture
def backend() -> MemoryBackend:
    return memory_backend()


@pytest.fixture
async def path(backend: MemoryBackend, tmp_path: Path) -> AsyncIterator[str]:
    server = LocalApiServer(backend, str(tmp_path / "api.sock"))
    await server.start()
    yield str(tmp_path / "api.sock")
    await server.stop()


@pytest.fixture
async def session(path: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as made:
        yield made


async def test_ok__status_with_and_without_peers(session: aiohttp.ClientSession) -> None:
    for query, count in (("", 1), ("?peers=0", 0)):
        async with session.get(f"{BASE}/status{query}") as response:
            assert len(msgspec.json.decode(await response.read(), type=Status).peers) == count


async def test_ok__up_reaches_the_backend(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    request = UpRequest(control_url="https://c.example", auth_key="secret", prefs=PrefsPatch(shields_up=True))
    async with session.post(f"{BASE}/up", data=msgspec.json.encode(request)) as response:
        assert msgspec.json.decode(await response.read(), type=UpReply).login
    assert backend.asked == [request]
    assert "secret" not in repr(request)


async def test_ok__patch_keeps_absent_fields_unset(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    async with session.patch(f"{BASE}/prefs", data=b'{"hostname": "gw"}') as response:
        assert response.status == 200
    (patch,) = backend.asked
    assert patch == PrefsPatch(hostname="gw")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "localhost"}, {"Origin": "http://evil.example"}, {"Referer": "x"}, {"Sec-Fetch-Site": "none"}],
)
async def test_fail__requests_that_a_page_could_make(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with session.get(f"{BASE}/status", headers=headers) as response:
        assert response.status == 403
        assert msgspec.json.decode(await response.read(), type=ErrorReply).code == "refused"


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"[]",
        b'{"prefs": {"shields_up": 1}}',
        b'{"auth_key": 5}',
        b"\xff",
        b'{"prefs": {"plugins": {"a": {"b": ' + b"[" * 20_000,
    ],
    ids=["cut", "list", "bool", "number", "not UTF-8", "deep"],
)
async def test_fail__bad_body(session: aiohttp.ClientSession, backend: MemoryBackend, body: bytes) -> None:
    async with session.post(f"{BASE}/up", data=body) as response:
        assert response.status == 400
    assert backend.asked == []


async def test_fail__body_is_bounded(session: aiohttp.ClientSession) -> None:
    async with session.post(f"{BASE}/up", data=b" " * 100_000) as response:
        assert response.status == 413


async def test_fail__unknown_path_and_method(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{BASE}/nothing") as response:
        assert response.status == 404
    async with session.get(f"{BASE}/up") as response:
        assert response.status == 405
        assert msgspec.json.decode(await response.read(), type=ErrorReply).text


@pytest.mark.parametrize(("error", "status"), [(ControlError("no", mend="do"), 503), (ConfigError("bad"), 400)])
async def test_fail__errors_carry_code_and_mend(
    session: aiohttp.ClientSession, backend: MemoryBackend, error: ControlError, status: int
) -> None:
    backend.refuse_with = error
    async with session.post(f"{BASE}/down") as response:
        assert response.status == status
        reply = msgspec.json.decode(await response.read(), type=ErrorReply)
    assert (reply.code, reply.text, reply.mend) == (error.code, error.text, error.mend)


async def test_ok__counters_and_loop_delay(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{BASE}/counters") as response:
        assert await response.json() == {"unknown_datagram": 3}
    async with session.get(f"{BASE}/metrics") as response:
        assert response.content_type == "text/plain"
        assert "waypost_peers 3" in await response.text()
    async with session.get(f"{BASE}/loop?seconds=0.05") as response:
        assert msgspec.json.decode(await response.read(), type=LoopDelay).samples > 0
    async with session.get(f"{BASE}/loop?seconds=x") as response:
        assert response.status == 400


async def test_ok__watch_sends_a_line_per_change(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    async with session.get(f"{BASE}/watch") as response:
        first = msgspec.json.decode(await response.content.readline(), type=Status)
        assert first.state == BackendState.RUNNING
        backend.current = msgspec.structs.replace(backend.current, state=BackendState.STOPPED)
        backend.publish(EventLine(at=datetime.now(UTC), kind="state"))
        second = msgspec.json.decode(await response.content.readline(), type=Status)
        assert second.state == BackendState.STOPPED


async def test_ok__events_without_following_end(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    backend.ring = [EventLine(at=datetime.now(UTC), kind="state")]
    async with session.get(f"{BASE}/events", params={"follow": "0"}) as response:
        lines = (await response.read()).splitlines()
    assert [msgspec.json.decode(line, type=EventLine).kind for line in lines] == ["state"]


async def test_ok__events_give_the_ring_then_new_ones(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    backend.ring = [EventLine(at=datetime.now(UTC), kind="old")]
    async with session.get(f"{BASE}/events") as response:
        assert msgspec.json.decode(await response.content.readline(), type=EventLine).kind == "old"
        backend.publish(EventLine(at=datetime.now(UTC), kind="new"))
        assert msgspec.json.decode(await response.content.readline(), type=EventLine).kind == "new"


async def test_ok__readers_that_leave_are_forgotten(session: aiohttp.ClientSession, backend: MemoryBackend) -> None:
    async with session.get(f"{BASE}/watch") as response:
        await response.content.readline()
        assert len(backend.subscribers) == 1
    for _ in range(500):
        backend.publish(EventLine(at=datetime.now(UTC), kind="x"))
        if not backend.subscribers:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the stream of a gone reader stays")


async def test_ok__socket_is_open_to_all_and_removed_at_the_end(backend: MemoryBackend, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    server = LocalApiServer(backend, str(path))
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    await server.stop()
    assert not path.exists()


async def test_ok__dead_socket_is_taken_over(backend: MemoryBackend, tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    server = LocalApiServer(backend, path)
    await server.start()
    await server.stop()


async def test_fail__living_socket_is_refused(path: str, backend: MemoryBackend) -> None:
    with pytest.raises(ConfigError, match="another waypostd"):
        await LocalApiServer(backend, path).start()


async def test_fail__missing_folder_says_the_mend(backend: MemoryBackend, tmp_path: Path) -> None:
    with pytest.raises(PrivilegeError, match="cannot listen on") as caught:
        await LocalApiServer(backend, str(tmp_path / "none" / "x.sock")).start()
    assert "--socket" in caught.value.mend


def test_ok__who_may_write() -> None:
    assert may_write(0, None)
    assert may_write(os.geteuid(), None)
    assert may_write(1234, 1234)
    assert not may_write(1235, 1234)
    assert not may_write(1235, None)
    assert not may_write(None, 1234)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_fail__somebody_else_reads_but_does_not_write(backend: MemoryBackend, path: str) -> None:
    Path(path).parent.chmod(0o755)
    for folder in Path(path).parents:
        if folder.stat().st_uid == 0 and folder.name.startswith(("pytest", "popen")):  # popen-gw0: of parallel runs
            folder.chmod(0o755)

    async def call(method: str, name: str) -> int:
        request = f"{method} /v1/{name} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        script = (
            "import os,socket,sys\nos.setgid(65534);os.setuid(65534)\n"
            "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.sendall(sys.argv[2].encode())\n"
            "print(s.recv(100).split()[1].decode())"
        )
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", script, path, request, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return int(output)

    assert await call("GET", "status") == 200
    assert await call("POST", "down") == 403
    assert await call("PATCH", "prefs") == 403
    backend.operator = 65534
    assert await call("POST", "down") == 200
