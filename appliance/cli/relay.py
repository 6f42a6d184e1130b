"""`relay`: this gateway as a meeting place for other nodes."""

from __future__ import annotations

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.types.errors import ApplianceError


class RelayCommandError(ApplianceError):
    code = "relay-command"


PEER_RELAY = PluginCommands("peer_relay", RelayCommandError)


@click.group()
def relay() -> None:
    """Show what this gateway relays for others. Switch it with: waypost plugins enable peer_relay"""


@relay.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show the relay's port, its addresses and its sessions."""
    PEER_RELAY.show(session, "status", as_json)
