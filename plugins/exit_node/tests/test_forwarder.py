"""The forwarder on real sockets, on the way of the resolvers: what users of the exit open needs the firewall's help
(tests/lab/test_exit_uplink.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.api import ListenScope
from appliance.api.testing import FakeHost
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.forwarder import LOOK_S, ExitForwarder
from plugins.exit_node.proxies import ForwarderPlaces


class SocksProxy:
    """Grants everything and echoes; with `closed` it hangs up at once."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.closed = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            methods = await reader.readexactly((await reader.readexactly(2))[1])
            if self.closed:
                return
            if 2 in methods:
                writer.write(b"\5\2")
                self.requests.append(await reader.readexactly(2 + 3 + 1 + 6))
                writer.write(b"\1\0")
            else:
                writer.write(b"\5\0")
            self.requests.append(await reader.readexactly(10))
            writer.write(b"\5\0\0\1" + bytes(6))
            while data := await reader.read(1000):
                writer.write(data)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


class Rig:
    def __init__(self, host: FakeHost, proxy: SocksProxy, config: ExitNodeConfig) -> None:
        self.host, self.proxy, self.config = host, proxy, config
        self.places = ForwarderPlaces()

    def placed(self, places: ForwarderPlaces) -> None:
        self.places = places

    async def settle(self) -> None:
        """Until the forwarder has said where it is; the sockets are real, the clock is not."""
        async with asyncio.timeout(5):
            while not self.places.port and not self.places.error:
                await self.host.time.pass_time(LOOK_S)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def forwarding(host: FakeHost, **settings: str) -> AsyncIterator[Rig]:
    proxy = SocksProxy()
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        config = ExitNodeConfig(
            advertise=True, uplink=f"socks5://127.0.0.1:{port}", uplink_resolvers=("192.0.2.53",), **settings
        )
        rig = Rig(host, proxy, config)
        task = asyncio.ensure_future(ExitForwarder(host, lambda: rig.config, rig.placed).run())
        try:
            await rig.settle()
            yield rig
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def ask(rig: Rig, text: bytes) -> bytes:
    port = int(rig.places.resolvers[0].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_ok__a_resolver_beyond_the_proxy(fake_host: FakeHost) -> None:
    async with forwarding(fake_host) as rig:
        assert rig.places.answers
        assert [place.scope for place in fake_host.listens] == [ListenScope.EXIT, ListenScope.EXIT, ListenScope.LOCAL]
        assert await ask(rig, b"question") == b"question"
        assert rig.proxy.requests == [bytes.fromhex("05010001 c0000235 0035")]


async def test_ok__credentials_come_from_a_file(fake_host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("ann:secret\n")
    async with forwarding(fake_host, uplink_credentials=str(tmp_path / "proxy")) as rig:
        assert await ask(rig, b"question") == b"question"
        assert rig.proxy.requests[0] == b"\1\3ann\6secret"


async def test_fail__no_file_of_credentials(fake_host: FakeHost, tmp_path: Path) -> None:
    async with forwarding(fake_host, uplink_credentials=str(tmp_path / "absent")) as rig:
        assert "absent" in rig.places.error
        assert not rig.places.port


async def test_fail__a_proxy_that_hangs_up_is_a_host_that_refuses(fake_host: FakeHost) -> None:
    async with forwarding(fake_host) as rig:
        rig.proxy.closed = True
        with pytest.raises(ConnectionError):
            await ask(rig, b"question")


async def test_fail__nobody_connects_to_the_forwarder_itself(fake_host: FakeHost) -> None:
    async with forwarding(fake_host) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.places.port)
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        writer.close()
        assert rig.proxy.requests == []


async def test_ok__it_ends_with_the_setting(fake_host: FakeHost) -> None:
    async with forwarding(fake_host) as rig:
        rig.config = ExitNodeConfig(advertise=True)
        await fake_host.time.pass_time(2 * LOOK_S)
        assert rig.places == ForwarderPlaces()
