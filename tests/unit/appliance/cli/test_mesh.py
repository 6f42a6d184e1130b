"""`waypost whois` and `waypost nc` as processes, against a gateway on twins."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.localapi.mesh_routes import MemoryMesh
from tests.unit.appliance.local_gateway import PEER, serving

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def localapi(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(tmp_path / "waypostd.sock", MemoryMesh({"127.0.0.1": PEER})) as path:
        yield path


async def waypost(localapi: str, *arguments: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
    code = "from appliance.cli.main import main; main()"
    command = (sys.executable, "-c", code, "--socket", localapi, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate(stdin)
    return process.returncode, output.decode(), errors.decode()


async def test_ok__whois(localapi: str) -> None:
    code, text, _ = await waypost(localapi, "whois", "127.0.0.1")
    assert code == 0
    assert [line.split(":", 1)[1].strip() for line in text.splitlines()] == [
        "peer.net.example",
        "127.0.0.1",
        "ada@example.net (Ada)",
        "example.net/cap/admin",
    ]
    code, text, _ = await waypost(localapi, "whois", "127.0.0.1", "--json")
    assert json.loads(text)["stable_id"] == "n2"


async def test_fail__whois_of_nobody(localapi: str) -> None:
    code, _, errors = await waypost(localapi, "whois", "192.0.2.1")
    assert (code, errors) == (1, "waypost: no peer has 192.0.2.1\n")


async def test_ok__nc_passes_both_ends_on(localapi: str) -> None:
    async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])  # it answers after the end of our input
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(reverse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, text, errors = await waypost(localapi, "nc", "peer", str(port), stdin=b"0123456789" * 30_000)
    assert (code, errors) == (0, "")
    assert text == "9876543210" * 30_000
