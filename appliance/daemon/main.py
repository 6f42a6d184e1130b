"""Entry point of `waypostd`: options, configuration, logs, event loop; errors at start are one line with the mend.

Exit codes: 0 stopped on request, 1 cannot start, 2 wrong configuration or usage.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from appliance.config.loader import load_config
from appliance.config.schema import Config
from appliance.console.program import run_program
from appliance.daemon.boot_guard import restore_guard
from appliance.daemon.hostinfo import VERSION
from appliance.daemon.logs import configure_logs
from appliance.daemon.notify import SystemdManager
from appliance.daemon.startup import stop_on_signals
from appliance.daemon.wiring import clean_up_only, run_gateway
from appliance.drivers.collector import calm_collector
from appliance.localapi.places import user_config, user_socket, user_state
from appliance.types.errors import ConfigError

DEFAULT_CONFIG = "/etc/waypost/waypost.toml"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help=f"Configuration file.  [default: {DEFAULT_CONFIG}]")
@click.option("--state-dir", metavar="FOLDER", help="Where keys and preferences are kept.")
@click.option("--socket", metavar="PATH", help="Socket of the local API.")
@click.option("--apps-socket", metavar="PATH", help="Socket of waypost-apps; by default it is started as a child.")
@click.option("--interface", metavar="NAME", help="Name of the tunnel device.")
@click.option("--port", type=click.IntRange(0, 65535), help="UDP port of the tunnel; 0 takes any free one.")
@click.option("--log-format", type=click.Choice(["auto", "human", "json"]), help="auto: human on a terminal.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--rootless", is_flag=True, default=None, help="Run as an ordinary user, in a network of its own.")
@click.option("--lifeline", type=int, hidden=True, help="Descriptor; its end of file stops the daemon.")
@click.option("--clean-up", is_flag=True, help="Remove what a killed run left on this machine, then exit.")
@click.option("--restore-guard", "guard", is_flag=True, help="At boot: close what an exit in use closes, then exit.")
@click.version_option(VERSION, prog_name="waypostd")
def waypostd(config: str | None, clean_up: bool, guard: bool, lifeline: int | None, **options: Any) -> None:
    """The Waypost gateway. Options go before the configuration file."""
    default = user_config(os.environ) if options["rootless"] else Path(DEFAULT_CONFIG)
    try:
        loaded = load_config(Path(config) if config else default, must_exist=config is not None)
    except ConfigError:
        if not guard:
            raise
        loaded = Config()  # a mistake in the file opens nothing
    settings = with_options(loaded, options)
    configure_logs(settings.log.format, settings.log.level)
    if guard:
        restore_guard(settings)
        return
    _run(clean_up_only(settings) if clean_up else _serve(settings, lifeline))


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """The configuration with the command line laid over it; None means not given."""

    def given(**names: str) -> dict[str, Any]:
        return {name: options[option] for name, option in names.items() if options.get(option) is not None}

    if options.get("rootless") or config.daemon.rootless:
        config = rootless_config(config, os.environ)
    return replace(
        config,
        daemon=replace(
            config.daemon,
            **_absolute(given(state_dir="state_dir", socket="socket", apps_socket="apps_socket")),  # type: ignore[arg-type]  # paths only
        ),
        tunnel=replace(config.tunnel, **given(interface="interface", port="port")),
        log=replace(config.log, **given(format="log_format", level="log_level")),
    )


def rootless_config(config: Config, environ: Mapping[str, str]) -> Config:
    """Settings that the file leaves at a system service's own values, at those of an ordinary user."""
    usual, daemon, tunnel = Config(), config.daemon, config.tunnel
    if daemon.state_dir == usual.daemon.state_dir:
        daemon = replace(daemon, state_dir=str(user_state(environ)))
    if daemon.socket == usual.daemon.socket:
        daemon = replace(daemon, socket=str(user_socket(environ)))
    if tunnel.port == usual.tunnel.port:
        tunnel = replace(tunnel, port=0)  # the machine may have a gateway of its own
    tunnel = replace(tunnel, engine="userspace")  # a kernel device would keep its UDP socket inside
    return replace(config, daemon=replace(daemon, rootless=True), tunnel=tunnel)


def _absolute(paths: dict[str, str]) -> dict[str, str]:
    return {name: str(Path(path).absolute()) for name, path in paths.items()}


async def _serve(config: Config, lifeline: int | None) -> None:
    calm_collector()
    stop = stop_on_signals()
    if lifeline is not None:
        asyncio.get_running_loop().add_reader(lifeline, stop.set)  # nothing is ever written: it has closed
    await run_gateway(config, SystemdManager(), stop)


def _run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def main() -> None:
    sys.exit(run_program(waypostd, "waypostd", exit_codes={ConfigError: 2}))
