"""A control server that gets its certificate from an authority: pebble asks for it at port 80, as a public one does.

waypost-control ──order, by its helper process──▶ pebble (directory)
     ▲  ▲                                            │
     │  └──GET /.well-known/acme-challenge/…─────────┘  name → 127.0.0.1 by pebble-challtestsrv
     └──TLS, checked against pebble's root── client that stays connected over renewals
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.types.addresses import AddrPort
from control.server.doctor import examine
from control.server.settings import ServerSettings
from control.tls.order import HTTP, TLS_ALPN, AcmeFolder, AcmeSettings
from control.tls.renewal import read_status
from tests.lab.control_process import ControlProcess, free_port
from tests.lab.pebble import Pebble, running_pebble

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

NAME = "control.example"
LIFE_S = 8
PATIENCE_S = 100.0


def make_server(folder: Path, pebble: Pebble, challenge: str = HTTP) -> tuple[ControlProcess, ServerSettings]:
    port = free_port() if challenge == HTTP else pebble.tls_port
    config = folder / "waypost-control.toml"
    config.write_text(
        f"""version = 1
[server]
domain = "mesh.example"
stun_port = 0
[tls]
acme = "{pebble.directory}"
accept_terms = true
names = ["{NAME}"]
contact = ["ops@{NAME}"]
challenge = "{challenge}"
challenge_listen = "127.0.0.1:{pebble.http_port}"
ca_file = "{pebble.ca_file}"
"""
    )
    acme = AcmeSettings(directory=pebble.directory, names=(NAME,))
    settings = ServerSettings(data_dir=folder, listen=AddrPort("127.0.0.1", port), acme=acme)
    return ControlProcess(folder, port, ("--derp", "--config", str(config))), settings


async def connect(port: int, root: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """With a root the certificate is checked for the name, as clients do."""
    context = ssl.create_default_context(cadata=root)
    if root is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)


def leaf(writer: asyncio.StreamWriter) -> bytes:
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """One request on a connection that stays."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return await reader.readexactly(size)


async def shown(port: int) -> bytes:
    """The leaf that the server presents now."""
    _, writer = await connect(port, None)
    found = leaf(writer)
    writer.transport.abort()
    return found


@dataclass
class Visitor:
    """Somebody whose connection lasts: asked often, since the server closes what is silent for 10 seconds."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def look(self) -> None:
        assert b'"publicKey"' in await ask(self.reader, self.writer, "/key?v=130")


async def wait_for(condition: Any, what: str, visitor: Visitor | None = None) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        if visitor is not None:
            await visitor.look()
        await asyncio.sleep(0.1)
    return found


async def other_leaf(port: int, former: set[bytes]) -> bytes | None:
    found = await shown(port)
    return None if found in former else found


async def doctors_word(settings: ServerSettings) -> tuple[str, str]:
    found = {finding.check: finding for finding in await examine(settings)}["acme"]
    return found.state, found.text


async def test_ok__ordered_renewed_and_kept_when_the_authority_fails(tmp_path: Path) -> None:
    with running_pebble(tmp_path / "pebble", LIFE_S) as pebble:
        folder = tmp_path / "control"
        folder.mkdir()
        server, settings = make_server(folder, pebble)
        acme = AcmeFolder(folder, pebble.directory)
        try:
            await server.start(timeout_s=60)
            first = await wait_for(lambda: issued(acme, server.port), "the first certificate")
            reader, writer = await connect(server.port, pebble.root())
            visitor = Visitor(reader, writer)
            await ask(reader, writer, "/derp/probe")
            for file in (acme.account_key, acme.certificate, acme.status):
                assert file.stat().st_mode & 0o777 == 0o600

            second = await wait_for(lambda: other_leaf(server.port, {first, leaf(writer)}), "a renewed one", visitor)
            await visitor.look()
            assert (await doctors_word(settings))[0] == "ok"

            pebble.stop()
            await wait_for(lambda: failed(acme), "an order that fails", visitor)
            kept = await shown(server.port)
            assert kept != first
            await visitor.look()
            state, text = await doctors_word(settings)
            assert state == "failed"
            assert "in a row failed" in text

            pebble.start()
            assert server.process is not None
            os.kill(server.process.popen.pid, signal.SIGHUP)  # as systemctl reload: try again now
            await wait_for(lambda: other_leaf(server.port, {first, second, kept}), "a new authority's", visitor)
            await visitor.look()
            assert (await doctors_word(settings))[0] == "ok"
            writer.transport.abort()
            counters = await server.admin("GET", "/v1/counters")
            assert counters["acme"]["orders_failed"] >= 1
        finally:
            server.stop()
            print(server.process.output() if server.process is not None else "")


@pytest.mark.long
async def test_ok__validated_at_the_tls_port_itself(tmp_path: Path) -> None:
    with running_pebble(tmp_path / "pebble", LIFE_S) as pebble:
        folder = tmp_path / "control"
        folder.mkdir()
        server, _ = make_server(folder, pebble, TLS_ALPN)
        acme = AcmeFolder(folder, pebble.directory)
        try:
            await server.start(timeout_s=60)
            first = await wait_for(lambda: issued(acme, server.port), "the first certificate")
            reader, writer = await connect(server.port, pebble.root())
            visitor = Visitor(reader, writer)
            await visitor.look()
            await wait_for(lambda: other_leaf(server.port, {first, leaf(writer)}), "a renewed one", visitor)
            await visitor.look()
            writer.transport.abort()
            counters = await server.admin("GET", "/v1/counters")
            assert counters["acme"]["orders_failed"] == 0
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", pebble.http_port)
        finally:
            server.stop()
            print(server.process.output() if server.process is not None else "")


async def issued(acme: AcmeFolder, port: int) -> bytes | None:
    """What is shown once it is the authority's."""
    if not acme.certificate.exists() or not acme.status.exists():
        return None
    return await shown(port)


async def failed(acme: AcmeFolder) -> bool:
    return json.loads(acme.status.read_text())["failures"] > 0 and bool(read_status(acme.status).error)
