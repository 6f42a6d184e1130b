"""A node on a gateway that runs already; its own daemon is the lab's business."""

from __future__ import annotations

import asyncio

import pytest

from appliance.embed import Node, NodeError
from appliance.localapi.mesh_routes import MemoryMesh
from appliance.types.errors import ApplianceError
from tests.unit.appliance.local_gateway import PEER


async def test_ok__whois_and_addresses(localapi: str) -> None:
    async with Node(socket=localapi) as node:
        assert await node.whois("127.0.0.1") == PEER
        assert await node.whois(("127.0.0.1", 4711)) == PEER
        assert await node.addresses() == ("127.0.0.1", "::1")
        assert (await node.status()).version == "1"
        assert node.localapi == localapi


async def test_ok__streams(localapi: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with Node(socket=localapi) as node:
        listener = await node.listen(0)
        port = listener.getsockname()[1]
        async with await asyncio.start_server(echo, sock=listener):
            reader, writer = await node.open_connection("peer", port)
            writer.write(b"hello\n")
            assert await reader.read() == b"hello\n"
            writer.close()
            await writer.wait_closed()


async def test_fail__what_the_gateway_refuses(localapi: str, mesh: MemoryMesh) -> None:
    mesh.refuse_with = ApplianceError("not connected", mend="run: waypost up", code="not-connected")
    async with Node(socket=localapi) as node:
        with pytest.raises(ApplianceError, match="not connected"):
            await node.dial("peer", 80)
        with pytest.raises(NodeError) as caught:
            await node.whois("192.0.2.1")
        assert caught.value.code == "no-such-peer"


async def test_fail__outside_of_its_life(localapi: str) -> None:
    node = Node(socket=localapi)
    with pytest.raises(NodeError, match="is not running"):
        await node.status()
    async with node:
        await node.status()
    with pytest.raises(NodeError, match="is not running"):
        await node.status()


async def test_fail__nobody_serves(tmp_path: object) -> None:
    async with Node(socket=f"{tmp_path}/none.sock") as node:
        with pytest.raises(NodeError, match="does not answer"):
            await node.status()
