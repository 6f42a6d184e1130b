"""Doctor on a real server, on none, and on broken ones."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.addresses import AddrPort
from appliance.types.errors import StateError
from control.cli.main import run
from control.server.app import running
from control.server.doctor import CHECKS, Finding, examine
from control.server.doctor_host import check_database
from control.server.settings import ServerSettings
from control.tls.identity import ServerTls
from tests.lab.control_process import free_port

pytestmark = [pytest.mark.timeout(60)]


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_settings(folder: Path, **more: Any) -> ServerSettings:
    port = free_port()
    values: dict[str, Any] = {
        "data_dir": folder,
        "listen": AddrPort("127.0.0.1", port),
        "derp_listen": AddrPort("127.0.0.1", free_port()),
        "derp_host": "127.0.0.1",
        "stun_port": free_udp_port(),
        "tls_fallback": None,
        "url": f"http://127.0.0.1:{port}",
    }
    return ServerSettings(**{**values, **more})


async def findings(settings: ServerSettings) -> dict[str, Finding]:
    return {finding.check: finding for finding in await examine(settings)}


async def test_ok__a_living_server(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    async with running(settings):
        found = await findings(settings)
    assert list(found) == list(CHECKS)
    assert {name for name, finding in found.items() if finding.state == "failed"} == set()
    for name in ("settings", "port", "reachability", "derp", "stun", "database"):
        assert found[name].state == "ok", found[name]


async def test_fail__no_server(tmp_path: Path) -> None:
    found = await findings(make_settings(tmp_path))
    for name in ("port", "reachability", "derp", "stun", "database"):
        assert found[name].state == "failed", found[name]
        assert found[name].mend
    assert found["tls"].state == "skipped"


async def test_fail__another_server_answers(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    settings = make_settings(tmp_path, derp_host=None)
    server = await asyncio.start_server(answer, "127.0.0.1", settings.listen.port)
    async with server:
        found = await findings(settings)
    assert "no control server" in found["reachability"].text
    assert found["derp"].state == found["stun"].state == "skipped"


async def test_fail__certificates(tmp_path: Path) -> None:
    pem = tmp_path / "pair.pem"
    ServerTls.self_signed(pem, ["other.example"], SystemClock(), SystemRandomness())
    settings = make_settings(tmp_path, tls_certificate=pem, tls_key=pem, url="https://control.example")
    found = await findings(settings)
    assert (found["tls"].state, "not for control.example" in found["tls"].text) == ("failed", True)
    ServerTls.self_signed(pem, ["control.example"], SystemClock(), SystemRandomness())
    assert (await findings(settings))["tls"].state == "ok"
    pem.write_bytes(b"junk")
    assert (await findings(settings))["tls"].state == "failed"


async def test_fail__a_damaged_database(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)):
        pass
    assert "sound" in await check_database(tmp_path, "")
    (tmp_path / "control.db").write_bytes(b"junk" * 4096)
    with pytest.raises(StateError, match="cannot be read"):
        await check_database(tmp_path, "")
    with pytest.raises(StateError, match="does not answer"):
        await check_database(tmp_path, f"postgresql://nobody@127.0.0.1:{free_port()}/none")


def test_fail__the_command_says_it_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        f'version = 1\n[server]\ndata_dir = "{tmp_path}"\nlisten = "127.0.0.1:{free_port()}"\nderp = false\n'
    )
    assert run(["doctor", "--json", "--config", str(file)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert [row["check"] for row in found["findings"]] == list(CHECKS)
