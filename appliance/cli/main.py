"""Entry point of `waypost`. Commands are loaded when used, so that each starts fast.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 waypostd does not answer, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import click

from appliance.cli.client import DaemonUnreachableError
from appliance.cli.session import Session
from appliance.console.program import LazyGroup, run_program
from appliance.localapi.places import found_socket, user_socket
from appliance.localapi.schema import DEFAULT_SOCKET

COMMANDS = {
    "up": ("appliance.cli.login:up", "Start the gateway; log in where needed."),
    "login": ("appliance.cli.login:login", "Log in anew; what runs goes on meanwhile."),
    "down": ("appliance.cli.login:down", "Stop the tunnel; the login stays."),
    "logout": ("appliance.cli.login:logout", "Give up the login; the next start needs a new one."),
    "set": ("appliance.cli.login:set_command", "Change settings of the running gateway."),
    "profiles": ("appliance.cli.profiles:profiles", "List, switch or delete the logins of this gateway."),
    "confirm": ("appliance.cli.confirm:confirm", "Keep the settings that are on trial."),
    "status": ("appliance.cli.status:status", "Show this node, its peers, routes and health."),
    "health": ("appliance.cli.status:health", "Show what is wrong, with the mend."),
    "ip": ("appliance.cli.addresses:ip", "Print the addresses of this node or a peer."),
    "ping": ("appliance.cli.probes:ping", "Ping a peer through the tunnel's paths."),
    "whois": ("appliance.cli.mesh:whois", "Say whose an address in the mesh is."),
    "nc": ("appliance.cli.mesh:nc", "Connect this terminal to a port in the mesh."),
    "netcheck": ("appliance.cli.probes:netcheck", "Report what the network around this node allows."),
    "uplinks": ("appliance.cli.uplinks:uplinks", "Show the ways to the Internet and how well they work."),
    "relay": ("appliance.cli.relay:relay", "Show what this gateway relays for other nodes."),
    "limits": ("appliance.cli.limits:limits", "Show what the limits of traffic let pass and dropped."),
    "exit": ("appliance.cli.exits:exits", "Leave to the Internet through a peer, or be that peer."),
    "doctor": ("appliance.cli.doctor:doctor", "Look for what is wrong around this gateway, with the mend."),
    "dns": ("appliance.cli.dns:dns", "Show what the resolver does, and ask it."),
    "mdns": ("appliance.cli.mdns:mdns", "Show which services of other sites hosts find here."),
    "wake": ("appliance.cli.wake:wake", "Wake a sleeping host of this site, or of another."),
    "plugins": ("appliance.cli.plugins:plugins", "List, switch, set and check plugins."),
    "version": ("appliance.cli.version:version", "Print the versions of CLI and daemon."),
    "page": ("appliance.cli.page:page", "Print where the status page is and a code to sign in."),
    "metrics": ("appliance.cli.metrics:metrics", "Print metrics for Prometheus."),
    "debug": ("appliance.cli.debug:debug", "Look inside: netmap, events."),
    "completion": ("appliance.console.completion:completion", "Print the shell completion script."),
}


@click.group(cls=LazyGroup, known=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    envvar="WAYPOST_SOCKET",
    type=click.Path(dir_okay=False),
    help=f"Socket of waypostd.  [default: {DEFAULT_SOCKET}, else the rootless gateway's]",
)
@click.option("--rootless", is_flag=True, help="Speak with this user's own gateway (waypostd --rootless).")
@click.pass_context
def cli(ctx: click.Context, socket: str | None, rootless: bool) -> None:
    """Join this site to a private mesh.

    \b
    First time:  waypost up --control-url https://control.example.net --auth-key-file key.txt
    Afterwards:  waypost status
    """
    ctx.obj = Session(socket or str(user_socket(os.environ) if rootless else found_socket(os.environ)))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    return run_program(cli, "waypost", arguments, {DaemonUnreachableError: 3})


def main() -> None:
    sys.exit(run())
