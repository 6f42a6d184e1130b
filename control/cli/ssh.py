"""`waypost-control ssh`."""

from __future__ import annotations

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_result, show_table, socket_option, when


@click.group()
def ssh() -> None:
    """SSH logins that a rule with `action: check` holds until somebody lets them in."""


@ssh.command()
@json_option
@socket_option
def pending(client: AdminClient, as_json: bool) -> None:
    """List the logins that wait."""
    found = client.call("GET", "ssh", "checks")
    keys = ("id", "user", "source", "target", "login")
    rows = [(*(str(one[key] or "-") for key in keys), when(one["created"])) for one in found]
    show_table(as_json, found, ("id", "user", "from", "to", "login", "since"), rows, "no login waits")


@ssh.command()
@click.argument("check_id", metavar="ID")
@json_option
@socket_option
def approve(client: AdminClient, check_id: str, as_json: bool) -> None:
    """Let in the login that waits under ID, and others between the two nodes for the rule's checkPeriod."""
    check = client.call("POST", "ssh", "checks", short_id(check_id), "approve")
    show_result(as_json, check, f"{check['user']} logs in to {check['target']} as {check['login']}")


@ssh.command()
@click.argument("check_id", metavar="ID")
@json_option
@socket_option
def deny(client: AdminClient, check_id: str, as_json: bool) -> None:
    """Turn away the login that waits under ID."""
    check = client.call("POST", "ssh", "checks", short_id(check_id), "deny")
    show_result(as_json, check, f"{check['user']} may not log in to {check['target']}")


def short_id(check_id: str) -> str:
    """The id of a pasted URL."""
    return check_id.rstrip("/").rpartition("/")[2] or "-"
