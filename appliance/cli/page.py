"""`page`: where the status page is, and a one-time code to sign in. The plugin `status_page` answers."""

from __future__ import annotations

import click

from appliance.cli.plugins import PluginCommandError
from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import RunReply, RunRequest

PLUGIN = "status_page"


@click.command()
@json_option
@click.pass_obj
def page(session: Session, as_json: bool) -> None:
    """Print where the status page is and a one-time code to sign in."""
    reply = session.client.post("plugins/run", RunRequest(plugin=PLUGIN, command="code"), RunReply)
    if not reply.ok:
        raise PluginCommandError(reply.text)
    if as_json:
        session.print_json(reply)
    else:
        click.echo(reply.text)
