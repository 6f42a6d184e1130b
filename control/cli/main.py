"""Entry point of `waypost-control`. Commands are loaded when used, so that each starts fast.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the control server does not answer, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from appliance.types.errors import ApplianceError
from control.cli.client import ServerUnreachableError

COMMANDS = {
    "serve": ("control.cli.serve:serve", "Run the control server."),
    "users": ("control.cli.users:users", "Create, list, rename, delete users, set their roles."),
    "preauthkeys": ("control.cli.preauthkeys:preauthkeys", "Create, list, revoke keys with which nodes join."),
    "apikeys": ("control.cli.apikeys:apikeys", "Create, list, revoke keys of the management API."),
    "nodes": ("control.cli.nodes:nodes", "List, show, rename, expire, delete, tag nodes; their attributes."),
    "routes": ("control.cli.routes:routes", "List, approve, revoke subnet and exit routes."),
    "ssh": ("control.cli.ssh:ssh", "Let in or deny SSH logins that need a check."),
    "policy": ("control.cli.policy_edit:policy", "Check, set, change, test, compare, explain the policy."),
    "config": ("control.cli.config:config", "Check the settings file."),
    "audit": ("control.cli.audit:audit", "Show who changed what."),
    "backup": ("control.cli.archive:backup", "Write state and keys to a file, while the server runs."),
    "restore": ("control.cli.archive:restore", "Bring a backup back into an empty database."),
    "doctor": ("control.cli.doctor:doctor", "Look for what is wrong, and say how to mend it."),
    "import": ("control.cli.imports:import_group", "Take over the mesh of another server."),
    "counters": ("control.cli.counters:counters", "Show what the server counts."),
    "page": ("control.cli.page:page", "Print where the status page is and a code to sign in."),
    "completion": ("control.cli.completion:completion", "Print the shell completion script."),
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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="waypost", prog_name="waypost-control")
def cli() -> None:
    """Run and steer a control server.

    \b
    First time:
      waypost-control serve
      waypost-control users create alice
      waypost-control preauthkeys create --user alice
    Shell completion (bash; zsh and fish alike), in ~/.bashrc:
      eval "$(waypost-control completion bash)"
    """


def run(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        result: Any = cli.main(args=arguments, prog_name="waypost-control", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ApplianceError as error:
        click.echo(f"waypost-control: {error.text}" + (f" → {error.mend}" if error.mend else ""), err=True)
        return 3 if isinstance(error, ServerUnreachableError) else 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away; nothing is left to say
        return 1
    return result if isinstance(result, int) else 0


def main() -> None:
    sys.exit(run())
