"""`relay`: this gateway as a meeting place for other nodes."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.types.errors import ApplianceError

PLUGIN = "peer_relay"


class RelayCommandError(ApplianceError):
    code = "relay-command"


@click.group()
def relay() -> None:
    """Show what this gateway relays for others. Switch it with: waypost plugins enable peer_relay"""


@relay.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show the relay's port, its addresses and its sessions."""
    arguments = ("--json",) if as_json else ()
    reply = session.client.post(
        "plugins/run", RunRequest(plugin=PLUGIN, command="status", arguments=arguments), RunReply
    )
    if not reply.ok:
        raise RelayCommandError(reply.text)
    click.echo(reply.text)
