"""`mdns`: services of other sites that hosts of this one find by multicast DNS."""

from __future__ import annotations

import json

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.types.errors import ApplianceError

PLUGIN = "mdns_reflector"


class MdnsCommandError(ApplianceError):
    code = "mdns"


@click.command()
@click.option("--seen", is_flag=True, help="Services of other sites that were seen.")
@json_option
@click.pass_obj
def mdns(session: Session, seen: bool, as_json: bool) -> None:
    """Show what is reflected between sites. Switch it with: waypost plugins enable mdns_reflector"""
    arguments = ("--json",) if as_json else ()
    request = RunRequest(plugin=PLUGIN, command="list" if seen else "status", arguments=arguments)
    reply = session.client.post("plugins/run", request, RunReply)
    if not reply.ok:
        raise MdnsCommandError(reply.text)
    if as_json:
        session.print_json(json.loads(reply.text))
    else:
        click.echo(reply.text)
