"""Real TCP and TLS on loopback."""

import asyncio
import hashlib
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from appliance.drivers.streams import SocketDialer, check_pin
from appliance.ports.resolver import MemoryResolver
from appliance.ports.streams import TlsPolicy
from tests.unit.appliance.drivers.certs import make

NAMES = {"localhost": (ip_address("127.0.0.1"),), "server.example": (ip_address("127.0.0.1"),)}


def dialer(names=None):
    return SocketDialer(MemoryResolver(names or NAMES), mark=0)


async def shout(reader, writer):
    """Answer every read in capitals."""
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()


@asynccontextmanager
async def echo(pem=None, answer=shout):
    """A server on loopback; gives its port. All its connections are gone at the end."""
    ended = []

    async def serve(reader, writer):
        done = asyncio.Event()
        ended.append(done)
        try:
            with suppress(OSError):
                await answer(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
            done.set()

    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for done in ended:
            await done.wait()


async def ask(stream):
    stream.write(b"hello")
    await stream.drain()
    try:
        return await stream.read()
    finally:
        stream.close()


def pin(der):
    return hashlib.sha256(der).hexdigest()


async def test_ok__plain_tcp():
    async with echo() as port:
        stream = await dialer().dial("localhost", port)
        assert stream.local_ip == "127.0.0.1"
        assert stream.peer_certificates() == ()
        assert stream.queued_bytes() == 0
        option = stream._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert option
        assert await ask(stream) == b"HELLO"


async def test_ok__the_end_is_empty():
    async def hang_up(_reader, writer):
        writer.close()
        await writer.wait_closed()

    async with echo(answer=hang_up) as port:
        stream = await dialer().dial("localhost", port)
        assert await stream.read() == b""
        stream.close()
        stream.write(b"ignored after the end")


async def test_ok__private_ca(tmp_path):
    pem, der = make(tmp_path)
    async with echo(pem) as port:
        stream = await dialer().dial("localhost", port, tls=TlsPolicy("localhost", ca_file=str(pem)))
        assert stream.peer_certificates() == (der,)
        assert await ask(stream) == b"HELLO"


async def test_ok__address_literal_is_verified(tmp_path):
    pem, _ = make(tmp_path, names=("127.0.0.1",))
    async with echo(pem) as port:
        assert await ask(await dialer().dial("127.0.0.1", port, tls=TlsPolicy("", ca_file=str(pem)))) == b"HELLO"


async def test_ok__verify_name_replaces_the_dialled_one(tmp_path):
    pem, _ = make(tmp_path, names=("real.example",))
    async with echo(pem) as port:
        policy = TlsPolicy("front.example", verify_name="real.example", ca_file=str(pem))
        assert await ask(await dialer().dial("localhost", port, tls=policy)) == b"HELLO"
        wrong = TlsPolicy("real.example", verify_name="other.example", ca_file=str(pem))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
            await dialer().dial("localhost", port, tls=wrong)


async def test_ok__without_verification(tmp_path):
    pem, der = make(tmp_path, names=("else.example",))
    async with echo(pem) as port:
        stream = await dialer().dial("localhost", port, tls=TlsPolicy("localhost", verify=False))
        assert stream.peer_certificates() == (der,)
        stream.close()


@pytest.mark.parametrize("name", ["localhost", "server.example"])
async def test_fail__unknown_ca_or_wrong_name(tmp_path, name):
    pem, _ = make(tmp_path)
    ca = "" if name == "localhost" else str(pem)
    async with echo(pem) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await dialer().dial(name, port, tls=TlsPolicy(name, ca_file=ca))


async def test_ok__pin_skips_the_meta_certificate(tmp_path):
    meta_pem, meta = make(tmp_path, "derpkey" + "00" * 8, ())
    certificate = b"-----BEGIN CERTIFICATE-----" + meta_pem.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")[2]
    pem, der = make(tmp_path, extra=certificate)
    async with echo(pem) as port:
        stream = await dialer().dial("localhost", port, tls=TlsPolicy("localhost", pin_sha256=pin(der)))
        assert stream.peer_certificates() == (der, meta)
        assert await ask(stream) == b"HELLO"
        with pytest.raises(ssl.SSLCertVerificationError, match="pinned"):
            await dialer().dial("localhost", port, tls=TlsPolicy("localhost", pin_sha256=pin(meta)))


def test_fail__pins(tmp_path):
    now = datetime.now(UTC)
    _, der = make(tmp_path)
    _, other = make(tmp_path, "other")
    check_pin([der], pin(der), "localhost", now)
    check_pin([der], pin(der).upper(), "192.0.2.1", now)  # no name goes out for an address, so none is checked
    for chain, host, when, reason in (
        ([], "localhost", now, "presented 0"),
        ([der, other], "localhost", now, "presented 2"),
        ([other], "localhost", now, "not the pinned one"),
        ([der], "else.example", now, r"not for else\.example"),
        ([der], "localhost", now + timedelta(days=9), "dates"),
        ([b"junk"], "localhost", now, "unreadable"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            check_pin(chain, pin(der), host, when)


async def test_ok__dead_addresses_are_passed_over():
    names = {"many.example": (ip_address("::1"), ip_address("127.0.0.2"), ip_address("127.0.0.1"))}
    async with echo() as port:
        assert await ask(await dialer(names).dial("many.example", port)) == b"HELLO"


async def test_fail__refused_and_unknown():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
            await dialer().dial("localhost", taken.getsockname()[1])
    with pytest.raises(socket.gaierror):
        await dialer().dial("nowhere.example", 1)
    with pytest.raises(ConnectionError, match="no address"):
        await dialer({"empty.example": ()}).dial("empty.example", 1)


async def test_fail__silence_is_bounded():
    async def mute(reader, _writer):
        await reader.read()

    async with echo(answer=mute) as port:
        with pytest.raises(TimeoutError, match="did not answer within"):
            await dialer().dial("localhost", port, tls=TlsPolicy("localhost", verify=False), timeout_s=0.05)


async def test_fail__bad_server_name():
    async with echo() as port:
        with pytest.raises(OSError, match="not a server name"):
            await dialer().dial("localhost", port, tls=TlsPolicy(".bad", verify=False))


async def test_fail__missing_ca_file():
    async with echo() as port:
        with pytest.raises(FileNotFoundError):
            await dialer().dial("localhost", port, tls=TlsPolicy("localhost", ca_file="/nonexistent/ca.pem"))
