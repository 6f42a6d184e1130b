"""`mdns`: services of other sites that hosts of this one find by multicast DNS."""

from __future__ import annotations

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.types.errors import ApplianceError


class MdnsCommandError(ApplianceError):
    code = "mdns"


MDNS_REFLECTOR = PluginCommands("mdns_reflector", MdnsCommandError)


@click.command()
@click.option("--seen", is_flag=True, help="Services of other sites that were seen.")
@json_option
@click.pass_obj
def mdns(session: Session, seen: bool, as_json: bool) -> None:
    """Show what is reflected between sites. Switch it with: waypost plugins enable mdns_reflector"""
    MDNS_REFLECTOR.show(session, "list" if seen else "status", as_json)
