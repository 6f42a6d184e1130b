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
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.dialing import NO_UDP_BY_HTTP
from plugins.exit_node.forwarder import LOOK_S, TRY_S, ExitForwarder
from plugins.exit_node.proxies import ForwarderPlaces
from plugins.exit_node.tests.socks_server import SocksServer, socks_server, until


class Rig:
    def __init__(self, host: FakeHost, proxy: SocksServer, config: ExitNodeConfig) -> None:
        self.host, self.proxy, self.config = host, proxy, config
        self.places = ForwarderPlaces()

    def placed(self, places: ForwarderPlaces) -> None:
        self.places = places

    async def settle(self) -> None:
        """Until the forwarder has said where it is."""
        await until(lambda: self.places.port or self.places.error, lambda: self.host.time.pass_time(LOOK_S))


@asynccontextmanager
async def forwarding(host: FakeHost, kind: str = "socks5", **settings: str) -> AsyncIterator[Rig]:
    async with socks_server() as (proxy, place):
        config = ExitNodeConfig(
            advertise=True, uplink=f"{kind}://127.0.0.1:{place.port}", uplink_resolvers=("192.0.2.53",), **settings
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


async def test_ok__udp_goes_on_while_the_proxy_carries_it(fake_host: FakeHost) -> None:
    async with forwarding(fake_host) as rig:
        taken = fake_host.exit_datagrams[0]
        assert (rig.places.udp_port, rig.places.no_udp) == (taken.port, "")
        taken.take(AddrPort("100.64.0.9", 5000), AddrPort("203.0.113.2", 443), b"hello")
        await until(lambda: taken.answered)
        await fake_host.time.pass_time(LOOK_S)
        assert rig.places.associations == 1
        rig.proxy.refusal = 7
        await until(lambda: not rig.places.udp_port, lambda: fake_host.time.pass_time(TRY_S))
        assert rig.places.no_udp == "the proxy says: command not supported"
        assert rig.places.answers
    assert taken.closed


async def test_ok__tcp_goes_on_where_the_host_takes_no_udp(fake_host: FakeHost) -> None:
    fake_host.refuse_datagrams = UnderlayError("cannot take UDP of an exit's users: Operation not permitted")
    async with forwarding(fake_host) as rig:
        assert "not permitted" in rig.places.no_udp
        assert not rig.places.udp_port
        assert await ask(rig, b"question") == b"question"


async def test_ok__an_http_proxy_takes_no_udp(fake_host: FakeHost) -> None:
    async with forwarding(fake_host, "http") as rig:
        assert (rig.places.udp_port, rig.places.no_udp) == (0, NO_UDP_BY_HTTP)
        assert rig.places.port
        assert fake_host.exit_datagrams == []


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
