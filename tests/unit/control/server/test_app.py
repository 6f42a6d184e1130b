"""The wiring: everything up on loopback, pinned relay in the DERP map, clear errors."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError
from appliance.types.ids import RegionId
from control.server.app import RunningServer, running, serve
from control.server.settings import ServerSettings
from control.service.service import ControlService

LOOPBACK = AddrPort("127.0.0.1", 0)


def make_settings(folder: Path, **fields: Any) -> ServerSettings:
    values: dict[str, Any] = {
        "data_dir": folder / "data",
        "listen": LOOPBACK,
        "derp_listen": LOOPBACK,
        "tls_fallback": None,
        "derp_host": "127.0.0.1",
        "stun_port": 0,
    }
    return ServerSettings(**{**values, **fields})


async def exchange(port: int, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_ok__relay_is_pinned_and_told(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server:
        region = server.derp_map.regions[RegionId(900)]
        assert server.service.view().derp_map == server.derp_map
        (node,) = region.nodes
        assert (node.name, node.host_name, node.ipv4, node.stun_port) == ("900a", "127.0.0.1", "127.0.0.1", -1)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", node.derp_port, ssl=context)
        leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert node.cert_name == "sha256-raw:" + sha256(leaf).hexdigest()
        writer.close()
        await writer.wait_closed()
        assert reader.at_eof()
        answer = await exchange(server.port, b"GET /key?v=130 HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["publicKey"].startswith("mkey:")


async def test_ok__keys_survive_a_restart(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        async with running(make_settings(tmp_path)) as server:
            answer = await exchange(server.port, b"GET /key?v=130 HTTP/1.1\r\nConnection: close\r\n\r\n")
            answers.append((answer, server.derp_map.regions[RegionId(900)].nodes[0].cert_name))
    assert answers[0] == answers[1]


async def test_ok__serve_until_told_to_stop_with_companions(tmp_path: Path) -> None:
    stop, seen = asyncio.Event(), list[str]()

    @asynccontextmanager
    async def companion(service: ControlService) -> Any:
        seen.append("up")
        yield
        service.view()
        seen.append("down")

    def ready(server: RunningServer) -> None:
        seen.append("ready")
        stop.set()

    await serve(make_settings(tmp_path, derp_host=None), stop=stop, ready=ready, companions=[companion])
    assert seen == ["up", "ready", "down"]


async def test_ok__no_connection_outlives_it(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with running(make_settings(tmp_path, metrics_listen=LOOPBACK)) as server:
        relay = server.derp_map.regions[RegionId(900)].nodes[0].derp_port
        kept = [await asyncio.open_connection("127.0.0.1", server.port)]
        kept.append(await asyncio.open_connection("127.0.0.1", relay, ssl=context))
        for (reader, writer), path in zip(kept, (b"/key?v=130", b"/derp/probe"), strict=True):
            writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            await reader.readuntil(b"\r\n\r\n")
        await kept[0][0].readuntil(b"}")
    for reader, writer in kept:
        with suppress(ConnectionResetError):  # an abort may be seen as a reset or as an end
            assert await reader.read() == b""
        writer.close()


async def test_ok__relay_shares_the_tls_listener(tmp_path: Path) -> None:
    from appliance.ports.clock import SystemClock
    from appliance.ports.randomness import SystemRandomness
    from control.tls.identity import ServerTls

    pem = tmp_path / "both.pem"
    ServerTls.self_signed(pem, ["localhost"], SystemClock(), SystemRandomness())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = make_settings(
        tmp_path, tls_certificate=pem, tls_key=pem, derp_host="localhost", listen=AddrPort("127.0.0.1", port)
    )
    async with running(settings) as server:
        (node,) = server.derp_map.regions[RegionId(900)].nodes
        assert (node.host_name, node.cert_name, node.derp_port, node.ipv4) == ("localhost", "", port, "")
        context = ssl.create_default_context(cafile=str(pem))
        context.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.write(b"GET /derp/probe HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"Access-Control-Allow-Origin: *" in await reader.read()
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(b"GET /derp HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 101")
        writer.close()
        await writer.wait_closed()


async def test_ok__policy_file_is_put_in_force_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.hujson"
    file.write_text('{"acls": []}')
    for _ in range(2):
        async with running(make_settings(tmp_path, policy_file=file, derp_host=None)) as server:
            from control.service.actor import SYSTEM

            assert server.service.policies.get(SYSTEM).version == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"policy_file": Path("/nonexistent/policy")}, "cannot read the policy file"),
        ({"tls_certificate": Path("/nonexistent/a"), "tls_key": Path("/nonexistent/b")}, "cannot read"),
    ],
)
async def test_fail__each_has_one_clear_line(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ApplianceError, match=words) as caught:
        async with running(make_settings(tmp_path, **fields)):
            pass
    assert caught.value.mend


async def test_fail__port_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = AddrPort("127.0.0.1", taken.getsockname()[1])
        for fields in ({"listen": busy}, {"derp_listen": busy}):
            with pytest.raises(ApplianceError, match="in use") as caught:
                async with running(make_settings(tmp_path, **fields)):
                    pass
            assert caught.value.mend


def test_fail__half_a_pair_of_tls_files(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="needs its key"):
        make_settings(tmp_path, tls_key=tmp_path / "key")


async def test_ok__a_replaced_certificate_is_taken_up_when_asked(tmp_path: Path) -> None:
    from appliance.ports.clock import SystemClock
    from appliance.ports.randomness import SystemRandomness
    from control.tls.identity import ServerTls

    def certificate() -> None:
        made = ServerTls.self_signed(tmp_path / "new.pem", ["localhost"], SystemClock(), SystemRandomness())
        assert made.cert_name
        (tmp_path / "new.pem").replace(tmp_path / "pair.pem")

    async def presented(port: int) -> bytes:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return bytes(leaf)

    certificate()
    reload = asyncio.Event()
    pair = tmp_path / "pair.pem"
    settings = make_settings(tmp_path, tls_certificate=pair, tls_key=pair, derp_host=None)
    async with running(settings, reload=reload) as server:
        before = await presented(server.port)
        certificate()
        assert await presented(server.port) == before
        reload.set()
        while await presented(server.port) == before:
            await asyncio.sleep(0.05)
        pair.write_bytes(b"junk")
        reload.set()
        while reload.is_set():
            await asyncio.sleep(0.05)
        assert await presented(server.port) != b""
