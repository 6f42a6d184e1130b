"""Entry point of `waypost-control`. Commands are loaded when used, so that each starts fast.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the control server does not answer, 130 interrupted.
"""

from __future__ import annotations

import sys

import click

from appliance.console.program import LazyGroup, run_program
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
    "completion": ("appliance.console.completion:completion", "Print the shell completion script."),
}


@click.group(cls=LazyGroup, known=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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
    return run_program(cli, "waypost-control", arguments, {ServerUnreachableError: 3})


def main() -> None:
    sys.exit(run())
