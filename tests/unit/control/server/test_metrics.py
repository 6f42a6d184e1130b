"""The metrics endpoint of a whole server, read over HTTP."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from control.server.app import running
from control.server.metrics import read_token
from control.server.settings import ServerSettings
from tests.lab.control_process import free_port

TOKEN = "0123456789abcdef"


def settings(folder: Path, port: int, token: Path | None) -> ServerSettings:
    return ServerSettings(
        data_dir=folder,
        listen=AddrPort("127.0.0.1", 0),
        derp_host=None,
        tls_fallback=None,
        metrics_listen=AddrPort("127.0.0.1", port),
        metrics_token_file=token,
    )


async def read(port: int, token: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return answer.status, await answer.text()


async def test_ok__gauges_and_counters(tmp_path: Path) -> None:
    port = free_port()
    async with running(settings(tmp_path, port, None)) as server:
        server.service.counters.add("derp", lambda: {'dropped{reason="queue",kind="disco"}': 3})
        status, text = await read(port)
    assert status == 200
    assert "waypost_control_nodes 0.0" in text
    assert 'waypost_control_info{domain="mesh.internal"} 1.0' in text
    assert 'waypost_control_events_total{detail="queue,disco",event="dropped",part="derp"} 3.0' in text
    assert "process_resident_memory_bytes" in text


async def test_fail__a_token_is_asked_for(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "token"
    file.write_text(TOKEN + "\n")
    async with running(settings(tmp_path, port, file)):
        assert (await read(port))[0] == 401
        assert (await read(port, "wrong"))[0] == 401
        assert (await read(port, TOKEN))[0] == 200


def test_fail__never_open_to_others_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="open to others"):
        ServerSettings(data_dir=tmp_path, metrics_listen=AddrPort("0.0.0.0", 9090))
    ServerSettings(data_dir=tmp_path, metrics_listen=AddrPort("0.0.0.0", 9090), metrics_token_file=tmp_path / "t")


def test_fail__a_token_file_that_does_not_serve(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot read"):
        read_token(file)
    file.write_text("short")
    with pytest.raises(ConfigError, match="too short"):
        read_token(file)
