"""The TLS port beside a plain front listener (control-protocol spec 3.2, 20.4)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.addresses import AddrPort
from control.server.front import Front
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.server.settings import ServerSettings
from control.server.tasks import RequestTasks
from control.server.tls_fallback import is_needed, open_tls_fallback


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def hello(request: PlainRequest) -> PlainResponse:
    return PlainResponse(200, b"hello\n")


async def front_of(stack: AsyncExitStack) -> Front:
    tasks = await stack.enter_async_context(RequestTasks())
    routes = Routes()
    routes.plain["GET", "/hello"] = hello
    front = Front(routes, tasks.spawn)
    stack.callback(front.close)
    return front


# Source: stock client 1.102.3 against a restarted plain server at a public address, 2026-11-21: every retry went to
# 443 ("TLS forced: no port 80 dialed") and each retry renewed the two minutes, so it stayed away for good.
@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "control.example.com"])
def test_ok__public_servers_need_it(tmp_path: Path, host: str) -> None:
    assert is_needed(ServerSettings(data_dir=tmp_path), host)
    assert not is_needed(ServerSettings(data_dir=tmp_path, tls_fallback=None), host)
    assert not is_needed(ServerSettings(data_dir=tmp_path, url=f"https://{host}"), host)
    files = ServerSettings(data_dir=tmp_path, tls_certificate=tmp_path / "a", tls_key=tmp_path / "b")
    assert not is_needed(files, host)


@pytest.mark.parametrize("host", ["10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "::1", "fd00::1", "localhost"])
def test_ok__clients_leave_private_servers_plain(tmp_path: Path, host: str) -> None:
    assert not is_needed(ServerSettings(data_dir=tmp_path), host)


async def test_ok__serves_the_front_over_tls(tmp_path: Path) -> None:
    settings = ServerSettings(data_dir=tmp_path, tls_fallback=AddrPort("127.0.0.1", free_port()))
    assert settings.tls_fallback is not None
    async with AsyncExitStack() as stack:
        front = await front_of(stack)
        tls = await open_tls_fallback(stack, front, settings, "203.0.113.1", SystemClock(), SystemRandomness())
        assert tls is not None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.tls_fallback.port, ssl=context)
        writer.write(b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello\n")
        writer.close()
        await writer.wait_closed()


async def test_fail__taken_port_is_a_warning_with_its_mend(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServerSettings(data_dir=tmp_path, tls_fallback=AddrPort("127.0.0.1", taken.getsockname()[1]))
        async with AsyncExitStack() as stack:
            front = await front_of(stack)
            with capture_logs() as logs:
                tls = await open_tls_fallback(stack, front, settings, "203.0.113.1", SystemClock(), SystemRandomness())
    assert tls is None
    assert [(entry["log_level"], "--tls-fallback none" in entry["mend"]) for entry in logs] == [("warning", True)]
