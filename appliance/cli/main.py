"""Entry point of `waypost`. Commands are loaded when used, so that each starts fast.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 waypostd does not answer, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from appliance.cli.client import DaemonUnreachableError
from appliance.cli.session import Session
from appliance.localapi.places import found_socket, user_socket
from appliance.localapi.schema import DEFAULT_SOCKET
from appliance.types.errors import ApplianceError

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
    "completion": ("appliance.cli.completion:completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """Knows names and one-line help of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = COMMANDS.get(cmd_name)
        if known is None:
            return None
        module, _, attribute = known[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # only on the way to an error

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
    try:
        result: Any = cli.main(args=arguments, prog_name="waypost", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ApplianceError as error:
        show_error(error)
        return 3 if isinstance(error, DaemonUnreachableError) else 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away; nothing is left to say
        return 1
    return result if isinstance(result, int) else 0


def show_error(error: ApplianceError) -> None:
    """One line: what is wrong, and the mend."""
    click.echo(f"waypost: {error.text}" + (f" → {error.mend}" if error.mend else ""), err=True)


def main() -> None:
    sys.exit(run())
