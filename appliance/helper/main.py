"""Entry point of `waypost-helper`. Under systemd it is started by the first call and ends when idle."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import sys
from pathlib import Path

import click

from appliance.helper.audit import audit_log
from appliance.helper.listener import activated_socket, made_socket
from appliance.helper.machine import LinuxMachine
from appliance.helper.server import HelperServer
from appliance.helper.verbs import Desk
from appliance.types.errors import ApplianceError, ConfigError

DEFAULT_SOCKET = "/run/waypost-helper/helper.sock"
DEFAULT_USER = "waypost"
IDLE_S = 30.0
IDLE_HELP = "End after so long without a call, when started by systemd; 0 never."
ROOT_UID = 0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--socket", "path", metavar="PATH", default=DEFAULT_SOCKET, show_default=True, help="Where to listen.")
@click.option("--user", metavar="NAME", default=DEFAULT_USER, show_default=True, help="Who may call, besides root.")
@click.option("--idle", metavar="SECONDS", type=click.FloatRange(0), default=IDLE_S, show_default=True, help=IDLE_HELP)
def waypost_helper(path: str, user: str, idle: float) -> None:
    """The root process of the Waypost gateway: a few fixed verbs for waypostd, each with an audit line.

    systemd hands the socket over; --socket is for runs by hand, which go on until they are stopped.
    """
    uid, gid = account(user)
    activated = activated_socket(os.environ, os.getpid())
    listener = activated or made_socket(Path(path).absolute(), gid)
    desk = Desk(LinuxMachine(), audit_log(sys.stdout), frozenset({ROOT_UID, uid}))
    server = HelperServer(listener, desk, idle_s=idle if activated and idle else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    with listener:
        server.run()
    if activated is None:
        Path(path).unlink(missing_ok=True)


def account(user: str) -> tuple[int, int]:
    """User and group id of a name, or of a number. Raises `ConfigError`."""
    if user.isascii() and user.isdecimal():
        return int(user), int(user)
    try:
        return pwd.getpwnam(user).pw_uid, grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_gid
    except KeyError:
        raise ConfigError(f"there is no user {user}", mend="run systemd-sysusers, or give --user") from None


def main() -> None:
    try:
        waypost_helper.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except ApplianceError as error:
        click.echo(f"waypost-helper: {error.line()}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
