"""`limits`: what the rates that traffic is held to let pass and dropped."""

from __future__ import annotations

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.types.errors import ApplianceError


class LimitsCommandError(ApplianceError):
    code = "limits-command"


SUBNET_ROUTER = PluginCommands("subnet_router", LimitsCommandError)


@click.command()
@json_option
@click.pass_obj
def limits(session: Session, as_json: bool) -> None:
    """Show what each limit of subnet_router let pass and dropped.

    Set them with: waypost plugins config subnet_router 'limits=["gateway-b 20mbit"]'
    """
    SUBNET_ROUTER.show(session, "limits", as_json)
