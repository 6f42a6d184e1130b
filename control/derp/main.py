"""Entry point of `waypost-derp`: a stand-alone relay with STUN, for regions beside the control server's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from appliance.console.program import run_program
from appliance.crypto.x25519 import clamp
from appliance.drivers.collector import calm_collector
from appliance.ports.clock import Clock, SystemClock
from appliance.ports.randomness import Randomness, SystemRandomness
from appliance.types.errors import DecodeError, StateError, UnderlayError
from appliance.types.keys import DerpPrivateKey
from control.derp.operation import Admissions, Operation, load_mesh_key
from control.derp.server import DerpServer
from control.derp.settings import DEFAULT_STATE_DIR, DerpSettings, load_settings
from control.stun.server import StunServer
from control.tls.files import write_private
from control.tls.identity import ServerTls

KEY_FILE = "derp.key"
CERTIFICATE_FILE = "derp-certificate.pem"
REFRESH_S = 3600.0


def load_key(file: Path, randomness: Randomness) -> DerpPrivateKey:
    """The server's key, made when the file is missing. Raises `StateError`."""
    try:
        return DerpPrivateKey.parse(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        made = DerpPrivateKey(clamp(randomness.bytes(32)))
    except (DecodeError, UnicodeDecodeError):
        raise StateError(
            f"{file} holds no DERP key", mend="restore it from a backup, or move it away to get a new one"
        ) from None
    except OSError as error:
        raise StateError(f"cannot read {file}: {error.strerror}", mend="check the path and its owner") from error
    try:
        write_private(file, made.reveal_text().encode() + b"\n")
    except OSError as error:
        raise StateError(
            f"cannot write {file}: {error.strerror}", mend="make its folder writable or choose another --state-dir"
        ) from error
    return made


def make_tls(settings: DerpSettings, server: DerpServer, clock: Clock, randomness: Randomness) -> ServerTls | None:
    """TLS as settled, None when a proxy does it. Raises `TlsError`."""
    if settings.plain:
        return None
    if settings.certificate:
        files = Path(settings.certificate), Path(settings.private_key)
        return ServerTls.from_files(*files, clock, randomness, server.public_key)
    file = Path(settings.state_dir) / CERTIFICATE_FILE
    return ServerTls.self_signed(file, settings.names, clock, randomness, server.public_key)


async def serve(settings: DerpSettings, stop: asyncio.Event, reading: Callable[[], DerpSettings] | None = None) -> None:
    """Run until `stop`. Raises `ApplianceError` when something cannot start. `reading` gives the settings at SIGHUP."""
    clock, randomness = SystemClock(), SystemRandomness()
    admissions = Admissions(settings)
    admissions.load()
    private_key = load_key(Path(settings.state_dir) / KEY_FILE, randomness)
    mesh_key = load_mesh_key(settings.mesh_key_file)
    limits, decide = settings.limits(), admissions.decide()
    server = DerpServer(private_key, randomness, clock, decide, limits=limits, mesh_key=mesh_key)
    operation = Operation(settings, server, admissions)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admissions.close)
        stack.push_async_callback(server.stop)
        stun = StunServer(randomness.bytes(32))
        stack.callback(stun.close)
        tls = make_tls(settings, server, clock, randomness)
        port = await _listen(server, settings, tls)
        if settings.stun_port:
            await _listen_stun(stun, settings)
        await operation.start(private_key, randomness, stack)
        if reading is not None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, operation.reload, reading)
            stack.callback(loop.remove_signal_handler, signal.SIGHUP)
        click.echo(_ready_line(settings, port, stun.port, tls))
        await _wait(stop, tls)


async def _listen(server: DerpServer, settings: DerpSettings, tls: ServerTls | None) -> int:
    try:
        return await server.listen(settings.host, settings.port, tls.context if tls is not None else None)
    except OSError as error:
        raise UnderlayError(
            f"cannot listen on TCP port {settings.port}: {error.strerror or error}",
            mend="stop what uses the port, choose another with --port, or run with the right to use it",
            code="listen",
        ) from error


async def _listen_stun(stun: StunServer, settings: DerpSettings) -> None:
    if not settings.host:
        await stun.listen(settings.stun_port)
    elif ":" in settings.host:
        await stun.listen(settings.stun_port, ipv4="", ipv6=settings.host)
    else:
        await stun.listen(settings.stun_port, ipv4=settings.host, ipv6="")


async def _wait(stop: asyncio.Event, tls: ServerTls | None) -> None:
    """Until stopped; once an hour renew certificates. A changed pin is told, because the DERP map must follow."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_S):
                await stop.wait()
                return
        if tls is not None and tls.refresh() and tls.cert_name:
            click.echo(f"new certificate: set CertName {tls.cert_name} in the DERP map")


def _ready_line(settings: DerpSettings, port: int, stun_port: int, tls: ServerTls | None) -> str:
    parts = [f"relay on TCP port {port}{' without TLS' if tls is None else ''}"]
    if settings.stun_port:
        parts.append(f"STUN on UDP port {stun_port}")
    if tls is not None and tls.cert_name:
        parts.append(f"CertName {tls.cert_name}")
    return ", ".join(parts)


async def _serve_until_signalled(reading: Callable[[], DerpSettings]) -> None:
    calm_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(reading(), stop, reading)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="waypost", prog_name="waypost-derp")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML); flags win over it.")
@click.option("--host", help="Address to listen on.  [default: all]")
@click.option("--port", type=int, help="TCP port of the relay.  [default: 443]")
@click.option("--stun-port", type=int, help="UDP port of STUN, 0 = off.  [default: 3478]")
@click.option("--state-dir", help=f"Folder of key and certificate.  [default: {DEFAULT_STATE_DIR}]")
@click.option("--name", "names", multiple=True, help="Address or name in the self-signed certificate; repeatable.")
@click.option("--certificate", help="PEM file: leaf and intermediates.")
@click.option("--private-key", help="PEM file: key of the certificate.")
@click.option("--plain", is_flag=True, default=None, help="No TLS: a proxy in front does it.")
@click.option("--verify-url", help="Ask this URL whether a node may use the relay.")
@click.option("--verify-fail-open", is_flag=True, default=None, help="Admit nodes while that URL does not answer.")
@click.option("--verify-socket", help="Socket of a stock node on this host: whom it sees may use the relay.")
@click.option("--allow-file", help="File of node keys that may use the relay; read anew at SIGHUP.")
@click.option("--mesh-key-file", help="Key of the region's mesh: 64 hex digits, the same on every server.")
@click.option("--mesh-peer", "mesh_peers", multiple=True, help="Another server of the region; repeatable.")
@click.option("--mesh-ca-file", help="Private CA (PEM) of the other servers.")
@click.option("--client-bytes-per-s", type=int, help="Bytes a second that one client may send, 0 = any.  [default: 0]")
@click.option("--total-bytes-per-s", type=int, help="The same for all together.  [default: 0]")
@click.option("--accepts-per-s", type=int, help="New connections a second.  [default: 2000]")
@click.option(
    "--bootstrap-name", "bootstrap_names", multiple=True, help="Name published at /bootstrap-dns; repeatable."
)
@click.option("--max-connections", type=int, help="Connections at a time.  [default: 60000]")
@click.option(
    "--http-port", type=int, help="Port for captive-portal checks, 80 where CanPort80 is set.  [default: 0, off]"
)
@click.option("--metrics", help="Address and port of a page for Prometheus, such as 127.0.0.1:9471.")
def cli(config: Path | None, **flags: Any) -> None:
    """Run a relay (DERP) and STUN server for the nodes of a mesh."""
    for name in ("names", "mesh_peers", "bootstrap_names"):
        flags[name] = flags[name] or None
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve_until_signalled(lambda: load_settings(config, flags)))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    return run_program(cli, "waypost-derp", arguments)


def main() -> None:
    sys.exit(run())
