"""`waypost-control doctor`: looks at what a server needs and says what is wrong, with the mend.

It runs beside a living server and changes nothing. Each check is a function of the settings that returns its finding.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from appliance.checks import machine
from appliance.checks.runner import examine as run_looks
from appliance.crypto.certificates import read_pem
from appliance.ports.randomness import SystemRandomness
from appliance.proto.control.upgrade import key_target, parse_key_response
from appliance.proto.stun.message import TX_ID_SIZE, encode_request, parse_response
from appliance.types.errors import DecodeError
from appliance.types.findings import Finding as Finding
from control.server.app import public_url
from control.server.check import check_files
from control.server.doctor_host import check_database
from control.server.embedded_derp import relay_host, relay_text
from control.tls.order import HTTP, AcmeFolder
from control.tls.renewal import read_status

if TYPE_CHECKING:
    from control.server.settings import ServerSettings

TIMEOUT_S = 5.0
EXPIRY_WARNING = timedelta(days=14)
MAX_ANSWER = 65536


Check = Callable[["ServerSettings"], Awaitable[Finding]]


async def examine(settings: ServerSettings) -> list[Finding]:
    """All findings, in a fixed order."""
    return await run_looks({name: partial(check, settings) for name, check in CHECKS.items()}, 4 * TIMEOUT_S)


async def _settings(settings: ServerSettings) -> Finding:
    problems = check_files(settings)
    if problems:
        return Finding("settings", "failed", problems[0].text, problems[0].mend)
    return Finding("settings", "ok", "the settings and the files that they name are good")


async def _certificate(settings: ServerSettings) -> Finding:
    file = settings.tls_certificate
    if settings.acme is not None:
        file = AcmeFolder(settings.data_dir, settings.acme.directory).certificate
    if file is None:
        return Finding("tls", "skipped", "the server speaks plain HTTP; the control protocol is encrypted by itself")
    mend = "give the full chain as PEM" if settings.acme is None else "see the check acme"
    try:
        facts = read_pem(file.read_bytes())
    except (OSError, DecodeError) as error:
        return Finding("tls", "failed", f"{file}: {error}", mend)
    left = facts.not_after - datetime.now(UTC)
    name = urlsplit(settings.url).hostname
    if left < timedelta(0):
        return Finding("tls", "failed", f"the certificate ended on {facts.not_after:%Y-%m-%d}", "renew it")
    if name and name not in facts.names and f"*.{name.partition('.')[2]}" not in facts.names:
        return Finding("tls", "failed", f"the certificate is not for {name}", f"it names {', '.join(facts.names)}")
    if left < EXPIRY_WARNING:
        return Finding("tls", "warning", f"the certificate ends in {left.days} days", "renew it")
    return Finding("tls", "ok", f"the certificate holds until {facts.not_after:%Y-%m-%d}")


async def _acme(settings: ServerSettings) -> Finding:
    """What became of the last order."""
    if settings.acme is None:
        return Finding("acme", "skipped", "no authority is asked for certificates")
    folder = AcmeFolder(settings.data_dir, settings.acme.directory)
    try:
        status = read_status(folder.status)
    except OSError as error:
        return Finding("acme", "failed", f"{folder.status}: {error.strerror}", "run it as the server's user or root")
    if not status.failures:
        return Finding("acme", "ok", "the last order of a certificate went well")
    names = ", ".join(settings.acme.names)
    by_http = settings.acme.challenge == HTTP
    way = (
        f"port 80 of {names} lead to {settings.acme.challenge_listen}" if by_http else f"port 443 of {names} lead here"
    )
    mend = f"let {way}; then: systemctl reload waypost-control"
    return Finding("acme", "failed", f"{status.failures} orders in a row failed, the last: {status.error}", mend)


async def _listening(settings: ServerSettings) -> Finding:
    """The server's own port answers with its key."""
    listen = settings.listen
    host = "127.0.0.1" if ip_address(listen.ip).is_unspecified else listen.ip
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.has_tls else "http"
    error = await _ask_key(f"{scheme}://{shown}:{listen.port}", verify=False)
    if error:
        mend = "start it: systemctl start waypost-control; its log: journalctl -u waypost-control"
        return Finding("port", "failed", f"the server does not answer on {listen}: {error}", mend)
    return Finding("port", "ok", f"the server answers on {listen}")


async def _reachable(settings: ServerSettings) -> Finding:
    """The public URL leads to a control server, checked as clients do."""
    url = public_url(settings, relay_text(settings))
    error = await _ask_key(url, verify=True)
    if not error:
        return Finding("reachability", "ok", f"{url} leads to a control server")
    mend = "check DNS, firewall, port forwarding and the certificate; set server.url to what clients use"
    return Finding("reachability", "failed", f"{url} does not work from here: {error}", mend)


async def _ask_key(url: str, *, verify: bool) -> str:
    """What is wrong with a server's /key; "" = nothing."""
    context: ssl.SSLContext | bool = True if verify else _unverified()
    limits = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.get(url + key_target(), ssl=context, allow_redirects=False) as answer,
        ):
            parse_key_response(await answer.content.read(MAX_ANSWER))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    except DecodeError as error:
        return f"it is no control server: {error.text}"
    return ""


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _clock(settings: ServerSettings) -> Finding:
    return machine.clock(is_kept=machine.clock_is_kept())


async def _relay(settings: ServerSettings) -> Finding:
    """The embedded relay takes TLS connections."""
    if settings.derp_host is None:
        return Finding("derp", "skipped", "no embedded relay")
    on_front = settings.has_tls
    port = settings.listen.port if on_front else settings.derp_listen.port
    host = relay_host(relay_text(settings) or "127.0.0.1")[0]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=_unverified())
    except (OSError, TimeoutError) as error:
        mend = f"open TCP port {port} to this machine"
        return Finding("derp", "failed", f"no relay answers at {host} port {port}: {error or 'time-out'}", mend)
    writer.transport.abort()
    return Finding("derp", "ok", f"the relay answers at {host} port {port}")


async def _stun(settings: ServerSettings) -> Finding:
    if settings.derp_host is None or not settings.stun_port:
        return Finding("stun", "skipped", "no STUN server")
    host = relay_host(relay_text(settings) or "127.0.0.1")[0]
    if await _stun_answers(host, settings.stun_port):
        return Finding("stun", "ok", f"STUN answers at {host} port {settings.stun_port}")
    mend = f"open UDP port {settings.stun_port} to this machine"
    return Finding("stun", "failed", f"STUN does not answer at {host} port {settings.stun_port}", mend)


async def _stun_answers(host: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    tx_id = SystemRandomness().bytes(TX_ID_SIZE)
    try:
        family, kind, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
        with socket.socket(family, kind) as probe:
            probe.setblocking(False)
            await loop.sock_connect(probe, address)
            await loop.sock_sendall(probe, encode_request(tx_id))
            async with asyncio.timeout(TIMEOUT_S):
                parse_response(await loop.sock_recv(probe, 2048))
    except (OSError, TimeoutError, DecodeError):
        return False
    return True


async def _database(settings: ServerSettings) -> Finding:
    text = await check_database(settings.data_dir, settings.database)
    return Finding("database", "ok", text)


async def _disk(settings: ServerSettings) -> Finding:
    return machine.disk(settings.data_dir, "server.data_dir")


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "port": _listening,
    "tls": _certificate,
    "acme": _acme,
    "reachability": _reachable,
    "derp": _relay,
    "stun": _stun,
    "database": _database,
    "disk": _disk,
    "clock": _clock,
}
