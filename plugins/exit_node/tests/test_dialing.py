from __future__ import annotations

import pytest

from plugins.exit_node.dialing import NO_UDP_BY_HTTP, granted, probe
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proto import SocksHandshake
from plugins.exit_node.proxies import Proxy
from plugins.exit_node.tests.socks_server import socks_server, until


async def test_ok__what_a_proxy_says_of_udp() -> None:
    async with socks_server() as (server, proxy):
        assert await probe(proxy, None) == (True, "")
        server.refusal = 7
        assert await probe(proxy, None) == (True, "the proxy says: command not supported")
        server.closed = True
        assert await probe(proxy, None) == (True, "the proxy closed the connection")
        assert await probe(Proxy(is_socks=False, host=proxy.host, port=proxy.port), None) == (True, NO_UDP_BY_HTTP)
    assert await probe(proxy, None) == (False, "the proxy does not answer")


async def test_ok__the_connection_ends_with_the_block() -> None:
    async with socks_server() as (server, proxy):
        async with granted(proxy, SocksHandshake(None)):
            assert len(server.associations) == 1
        await until(lambda: not server.associations)


async def test_fail__refused() -> None:
    async with socks_server() as (server, proxy):
        server.refusal = 2
        with pytest.raises(ProxyRefusedError, match="not allowed"):
            async with granted(proxy, SocksHandshake(None)):
                raise AssertionError
