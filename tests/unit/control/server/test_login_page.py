"""The page behind an AuthURL: names the command, escapes what the device said, changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.proto.control.messages import Hostinfo, RegisterRequest
from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.server.app import public_url, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM


def settings(folder: Path, **fields: object) -> ServerSettings:
    listen = AddrPort("127.0.0.1", 0)
    values = {"data_dir": folder, "listen": listen, "derp_host": None, "stun_port": 0, **fields}
    return ServerSettings(**values)  # type: ignore[arg-type]  # by name


async def get(port: int, path: str, method: str = "GET") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def test_ok__page_of_a_waiting_device(tmp_path: Path) -> None:
    async with running(settings(tmp_path, url="https://control.example/")) as server:
        await server.service.users.create(SYSTEM, "alice")
        request = RegisterRequest(
            version=130, node_key=str(NodePublicKey(b"n" * 32)), hostinfo=Hostinfo(hostname="<script>gw")
        )
        answer = await server.service.register(MachinePublicKey(b"m" * 32), request, "192.0.2.9")
        assert answer.auth_url.startswith("https://control.example/register/")
        path = answer.auth_url.removeprefix("https://control.example")
        page = await get(server.port, path)
        login_id = path.rpartition("/")[2]
        assert page.startswith("HTTP/1.1 200")
        assert f"waypost-control nodes register {login_id} --user NAME" in page
        assert "&lt;script&gt;gw" in page
        assert "<script>" not in page
        assert "default-src 'none'" in page
        assert server.service.logins.list(SYSTEM), "looking at it decides nothing"
        assert (await get(server.port, path, "POST")).startswith("HTTP/1.1 405")
        await server.service.logins.approve(SYSTEM, login_id, "alice")
        assert (await get(server.port, path)).startswith("HTTP/1.1 404")


@pytest.mark.parametrize("path", ["/register/", "/register/0123", "/register/" + "0" * 20, "/register/../key?v=130"])
async def test_fail__nothing_waits_there(tmp_path: Path, path: str) -> None:
    async with running(settings(tmp_path)) as server:
        assert (await get(server.port, path)).startswith("HTTP/1.1 404")


def test_ok__url_of_the_server(tmp_path: Path) -> None:
    made = settings(tmp_path, listen=AddrPort("0.0.0.0", 8080))
    assert public_url(made, "203.0.113.1") == "http://203.0.113.1:8080"
    assert public_url(settings(tmp_path, listen=AddrPort("::", 80)), "2001:db8::1") == "http://[2001:db8::1]"
    tls = settings(tmp_path, tls_certificate=tmp_path, tls_key=tmp_path, listen=AddrPort("0.0.0.0", 443))
    assert public_url(tls, "c.example") == "https://c.example"


def test_fail__no_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no URL"):
        settings(tmp_path, url="control.example")
