"""Which connections take the proxy, and the CONNECT request, against a real proxy on loopback."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.drivers.proxy import Proxy, ProxyRefusedError, ProxyRules, parse_proxy, rules_from
from appliance.drivers.streams import SocketDialer
from appliance.ports.resolver import MemoryResolver
from appliance.ports.streams import TlsPolicy
from appliance.types.errors import ConfigError
from tests.unit.appliance.drivers.certs import make
from tests.unit.appliance.drivers.test_streams import ask, echo

NAMES = {"proxy.example": (ip_address("127.0.0.1"),)}
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ConnectProxy:
    """Connects to the port asked for on loopback, whatever the name: it resolves names, the client does not."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.credentials = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.credentials and f"Proxy-Authorization: Basic {self.credentials}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        port = int(head.split(" ")[1].rpartition(":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))
        finally:
            far_writer.close()
            with suppress(OSError):
                await far_writer.wait_closed()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def behind(answer: Answer, user: str = "") -> AsyncIterator[SocketDialer]:
    """A dialer that must use the proxy."""
    async with echo(answer=answer) as port:
        proxy = parse_proxy(f"http://{user}proxy.example:{port}", "here")
        yield SocketDialer(MemoryResolver(NAMES), mark=0, proxies=ProxyRules(proxy, proxy))


async def test_ok__plain_and_tls_through_the_proxy(tmp_path: Path) -> None:
    pem, _ = make(tmp_path, names=("server.example",))
    proxy = ConnectProxy()
    async with behind(proxy) as dialer, echo() as plain, echo(pem) as secure:
        assert await ask(await dialer.dial("server.example", plain)) == b"HELLO"
        policy = TlsPolicy("server.example", ca_file=str(pem))
        assert await ask(await dialer.dial("server.example", secure, tls=policy)) == b"HELLO"
    assert proxy.heads[0].startswith(f"CONNECT server.example:{plain} HTTP/1.1\r\nHost: server.example:{plain}\r\n")
    assert "Authorization" not in proxy.heads[0]


async def test_ok__ipv6_target_is_in_brackets() -> None:
    proxy = ConnectProxy()
    async with behind(proxy) as dialer, echo() as port:
        assert await ask(await dialer.dial("2001:db8::1", port)) == b"HELLO"
    assert proxy.heads[0].startswith(f"CONNECT [2001:db8::1]:{port} ")


async def test_ok__credentials() -> None:
    proxy = ConnectProxy()
    proxy.credentials = base64.b64encode(b"us er:p:w").decode()
    async with behind(proxy, "us%20er:p%3Aw@") as dialer, echo() as port:
        assert await ask(await dialer.dial("server.example", port)) == b"HELLO"


async def test_fail__proxy_refuses() -> None:
    proxy = ConnectProxy()
    proxy.credentials = "x"
    async with behind(proxy) as dialer:
        with pytest.raises(ProxyRefusedError, match=r"refuses server\.example:80: 407 Proxy Authentication Required"):
            await dialer.dial("server.example", 80)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "before it was asked"),
        (b"", "closed the connection"),
    ],
)
async def test_fail__proxy_is_none(data: bytes, text: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.write_eof()
        await reader.read()

    async with behind(answer) as dialer:
        with pytest.raises(ProxyRefusedError, match=text):
            await dialer.dial("server.example", 443)


async def test_fail__proxy_is_silent() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    async with behind(answer) as dialer:
        with pytest.raises(TimeoutError, match="did not answer"):
            await dialer.dial("server.example", 443, timeout_s=0.1)


A, B = Proxy("a.example", 1), Proxy("b.example", 2)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("", "control.example", 443, False),
        ("*", "control.example", 443, True),
        ("control.example", "Control.Example.", 443, True),
        ("example", "control.example", 443, True),
        ("ample", "control.example", 443, False),
        (".example", "control.example", 443, True),
        (".control.example", "control.example", 443, False),
        ("*.example", "control.example", 443, True),
        ("other, control.example:443", "control.example", 443, True),
        ("control.example:80", "control.example", 443, False),
        ("192.0.2.0/24", "192.0.2.9", 443, True),
        ("192.0.2.9", "192.0.2.9", 443, True),
        ("192.0.2.9:80", "192.0.2.9", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("nonsense/99", "192.0.2.9", 443, False),
        ("", "localhost", 80, True),
        ("", "127.0.0.5", 80, True),
        ("", "::1", 80, True),
    ],
)
def test_ok__exceptions(no_proxy: str, host: str, port: int, exempt: bool) -> None:
    assert (ProxyRules(A, B, no_proxy).choose(host, port, tls=True) is None) is exempt


@given(st.text(max_size=40), st.text(max_size=40))
def test_ok__any_exceptions_can_be_asked(no_proxy: str, host: str) -> None:
    ProxyRules(A, B, no_proxy).choose(host, 443, tls=True)


def test_ok__from_configuration_and_environment() -> None:
    environment = {"HTTPS_PROXY": "http://a.example:1", "http_proxy": "b.example:2", "NO_PROXY": "c.example"}
    rules = rules_from("", environment)
    assert (rules.choose("x.example", 443, tls=True), rules.choose("x.example", 80, tls=False)) == (A, B)
    assert rules.choose("c.example", 443, tls=True) is None
    rules = rules_from("http://d.example", environment)
    assert rules.choose("x.example", 80, tls=False) == Proxy("d.example", 3128)
    assert rules.choose("c.example", 443, tls=True) is None
    assert rules_from("", {}).choose("x.example", 443, tls=True) is None


@pytest.mark.parametrize("text", ["https://p.example", "socks5://p.example", "http://", "http://p:x", "http://p/path"])
def test_fail__no_proxy_url(text: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        rules_from("", {"HTTPS_PROXY": text})
    assert caught.value.mend


def test_ok__a_password_is_not_shown() -> None:
    proxy = parse_proxy("http://user:secret@p.example:1", "here")
    assert "secret" not in repr(proxy)
    with pytest.raises(ConfigError) as caught:
        parse_proxy("http://user:secret@p.example:x", "here")
    assert "secret" not in caught.value.line()
