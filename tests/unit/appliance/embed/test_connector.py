"""aiohttp through the mesh, in both directions."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from appliance.embed import Node
from appliance.localapi.mesh_routes import MemoryMesh
from appliance.types.errors import ApplianceError
from tests.unit.appliance.drivers.certs import make


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.remote} on {request.host}")


async def runner() -> web.AppRunner:
    app = web.Application()
    app.add_routes([web.get("/", hello)])
    made = web.AppRunner(app)
    await made.setup()
    return made


async def test_ok__site_and_connector_meet(localapi: str) -> None:
    serving = await runner()
    try:
        async with Node(socket=localapi) as node:
            listener = await node.listen(0)
            port = listener.getsockname()[1]
            await web.SockSite(serving, listener).start()
            async with aiohttp.ClientSession(connector=node.connector(limit=2)) as session:
                for _ in range(3):  # connections are kept
                    async with session.get(f"http://peer:{port}/") as response:
                        assert await response.text() == f"hello 127.0.0.1 on peer:{port}"
    finally:
        await serving.cleanup()


async def test_ok__sites_on_each_address(localapi: str) -> None:
    serving = await runner()
    try:
        async with Node(socket=localapi) as node:
            with await node.listen(0, "::1") as probe:
                port = probe.getsockname()[1]
            sites = await node.sites(serving, port)
            assert sorted(site.name for site in sites) == [f"http://127.0.0.1:{port}", f"http://[::1]:{port}"]
    finally:
        await serving.cleanup()


async def test_ok__https_is_checked(localapi: str, tmp_path: Path) -> None:
    certificate, _ = make(tmp_path, names=("peer",))
    served, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    served.load_cert_chain(certificate)
    trusting.load_verify_locations(certificate)
    serving = await runner()
    try:
        async with Node(socket=localapi) as node, aiohttp.ClientSession(connector=node.connector()) as session:
            listener = await node.listen(0)
            port = listener.getsockname()[1]
            await web.SockSite(serving, listener, ssl_context=served).start()
            for accepted in (trusting, False):
                async with session.get(f"https://peer:{port}/", ssl=accepted) as response:
                    assert (await response.text()).startswith("hello")
            for refused in (f"https://peer:{port}/", f"https://other:{port}/"):
                with pytest.raises(aiohttp.ClientConnectionError, match="certificate"):
                    await session.get(refused, ssl=trusting if "other" in refused else True)
    finally:
        await serving.cleanup()


async def test_fail__refusals_are_connection_errors(localapi: str, mesh: MemoryMesh) -> None:
    mesh.refuse_with = ApplianceError("no peer is named nobody", mend="waypost status lists them")
    async with Node(socket=localapi) as node, aiohttp.ClientSession(connector=node.connector()) as session:
        with pytest.raises(aiohttp.ClientConnectionError, match="no peer is named nobody"):
            await session.get("http://nobody/")
