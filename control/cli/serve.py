"""`waypost-control serve`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from control.cli.client import DEFAULT_SOCKET
from control.cli.logs import LEVELS

if TYPE_CHECKING:
    from control.cli.config_file import ServeConfig


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file; flags win over it.")
@click.option("--data-dir", help="Database and keys.  [default: /var/lib/waypost-control]")
@click.option(
    "--database",
    help="postgresql://user@host/name where several processes serve one mesh; its password comes from PGPASSFILE, "
    "PGPASSWORD or the config file.  [default: a file in --data-dir]",
)
@click.option(
    "--random-addresses/--sequential-addresses",
    default=None,
    help="Where new nodes' overlay addresses come from.  [default: sequential]",
)
@click.option("--noise-key", help="File with the server's key: that of the server replaced, or of its other processes.")
@click.option("--listen", help="Address and port for nodes.  [default: [::]:8080, both IP versions]")
@click.option("--url", help="Address of this server for people's browsers, as https://control.example.")
@click.option("--domain", help="DNS suffix of all nodes.  [default: mesh.internal]")
@click.option("--tls-cert", help="Certificate chain (PEM): serve HTTPS instead of HTTP.")
@click.option("--tls-key", help="Private key (PEM) of the certificate.")
@click.option(
    "--tls-fallback",
    help="Without --tls-cert: TLS port by which stock clients come back to a public address.  [default: [::]:443]",
)
@click.option("--derp/--no-derp", default=None, help="Embedded relay and STUN.  [default: on]")
@click.option("--derp-host", help="Name or address under which nodes reach the relay; more addresses after commas.")
@click.option("--derp-listen", help="The relay's own TLS listener without --tls-cert.  [default: [::]:8443]")
@click.option("--derp-region", type=int, help="Region number of the relay.  [default: 900]")
@click.option("--stun-port", type=int, help="UDP port of STUN, 0 = none.  [default: 3478]")
@click.option("--policy", help="Policy file to put in force at start; without it the stored one stays.")
@click.option("--key-expiry", help="Life of node keys, as 180d.  [default: never]")
@click.option("--socket", help=f"Admin socket.  [default: {DEFAULT_SOCKET}]", envvar="WAYPOST_CONTROL_SOCKET")
@click.option("--log-level", type=click.Choice(LEVELS), help="[default: info]")
def serve(config: Path | None, **flags: Any) -> None:
    """Run the control server until it is told to stop (SIGTERM, Ctrl-C). SIGHUP: look at certificates again.

    Settings come from flags, then from /etc/waypost-control/waypost-control.toml or --config.
    """
    from control.cli.config_file import load_config
    from control.cli.logs import set_up_logs

    loaded = load_config(flags, config)
    set_up_logs(loaded.log_level)
    with contextlib.suppress(KeyboardInterrupt):
        _run(loaded)


def _run(config: ServeConfig) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config))


async def _serve(config: ServeConfig) -> None:
    from appliance.drivers.collector import calm_collector
    from control.server.admin import admin_socket
    from control.server.app import serve as serve_until

    calm_collector()
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    await serve_until(config.server, stop=stop, reload=reload, companions=(admin_socket(config.socket),))
