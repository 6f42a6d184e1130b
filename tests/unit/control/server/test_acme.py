"""ACME beside the front: port 80, a stand-in without an authority, what metrics and doctor say of it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.ids import RegionId
from control.server.acme import ChallengePort
from control.server.app import public_url, running
from control.server.doctor import examine
from control.server.settings import ServerSettings
from control.server.tasks import RequestTasks
from control.tls.order import AcmeFolder, AcmeSettings
from control.tls.renewal import read_status
from tests.lab.control_process import free_port

NAME = "control.example"


def acme_settings(port: int | None = None) -> AcmeSettings:
    listen = AddrPort("127.0.0.1", port or free_port())
    return AcmeSettings(directory=f"https://127.0.0.1:{free_port()}/dir", names=(NAME,), challenge_listen=listen)


async def ask(port: int, text: str, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(f"{text} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_ok__port_80_answers_orders_checks_and_people() -> None:
    settings = acme_settings()
    async with RequestTasks() as tasks:
        port = ChallengePort(settings, f"https://{NAME}", tasks.spawn)
        await port.open()
        number = settings.challenge_listen.port
        path = "/.well-known/acme-challenge/abc"
        assert (await ask(number, f"GET {path}")).startswith(b"HTTP/1.1 404")
        port.publish({path: "abc.thumbprint"})
        assert (await ask(number, f"GET {path}")).endswith(b"\r\n\r\nabc.thumbprint")
        assert (await ask(number, f"GET {path}x")).startswith(b"HTTP/1.1 404")
        port.publish({})
        assert (await ask(number, f"GET {path}")).startswith(b"HTTP/1.1 404")
        assert (await ask(number, "GET /generate_204")).startswith(b"HTTP/1.1 204")
        moved = await ask(number, "GET /status?a=b")
        assert moved.startswith(b"HTTP/1.1 302")
        assert b"Location: https://control.example/status?a=b\r\n" in moved
        assert b"Location: https://control.example/\r\n" in await ask(number, "GET http://other.example/x")
        assert (await ask(number, "POST /machine/map")).startswith(b"HTTP/1.1 405")
        port.close()


@pytest.mark.timeout(60)
async def test_fail__without_an_authority_a_stand_in_serves_and_it_is_told(tmp_path: Path) -> None:
    acme = acme_settings()
    settings = ServerSettings(
        data_dir=tmp_path,
        listen=AddrPort("127.0.0.1", free_port()),
        acme=acme,
        stun_port=0,
        metrics_listen=AddrPort("127.0.0.1", free_port()),
    )
    assert public_url(settings, None).startswith(f"https://{NAME}:")
    files = AcmeFolder(tmp_path, acme.directory)
    async with running(settings) as server:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        assert b"publicKey" in await ask(server.port, "GET /key?v=130", context)
        assert (await ask(server.port, "GET /derp/probe", context)).startswith(b"HTTP/1.1 200")
        (node,) = server.derp_map.regions[RegionId(900)].nodes
        assert (node.host_name, node.derp_port) == (NAME, settings.listen.port)
        assert node.cert_name.startswith("sha256-raw:"), "nodes know the stand-in by its hash"
        while read_status(files.status).failures == 0:
            await asyncio.sleep(0.05)
        assert settings.metrics_listen is not None
        metrics = await ask(settings.metrics_listen.port, "GET /metrics")
        assert b"waypost_control_certificate_failed_orders 1.0" in metrics
        finding = {found.check: found for found in await examine(settings)}["acme"]
        assert (finding.state, "refused" in finding.text) == ("failed", True)
        assert "port 80" in finding.mend


async def test_fail__a_taken_port_80_does_not_stop_the_server(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    acme = acme_settings(taken.sockets[0].getsockname()[1])
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), acme=acme, derp_host=None)
    files = AcmeFolder(tmp_path, acme.directory)
    async with running(settings):
        while read_status(files.status).failures == 0:
            await asyncio.sleep(0.02)
    assert "cannot listen" in read_status(files.status).error
    taken.close()
    await taken.wait_closed()


def test_fail__files_and_an_authority_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        ServerSettings(data_dir=tmp_path, acme=acme_settings(), tls_certificate=tmp_path / "a", tls_key=tmp_path / "b")
    assert "tls.acme" in error.value.mend
