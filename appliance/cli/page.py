"""`page`: where the status page is, and a one-time code to sign in. The plugin `status_page` answers."""

from __future__ import annotations

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option

STATUS_PAGE = PluginCommands("status_page")


@click.command()
@json_option
@click.pass_obj
def page(session: Session, as_json: bool) -> None:
    """Print where the status page is and a one-time code to sign in."""
    STATUS_PAGE.show_text(session, "code", as_json=as_json)
