"""`waypost-control page`."""

from __future__ import annotations

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_json, socket_option


@click.command()
@json_option
@socket_option
def page(client: AdminClient, as_json: bool) -> None:
    """Print where the status page is and a one-time code to sign in."""
    made = client.call("POST", "page")
    if as_json:
        show_json(made)
        return
    click.echo(f"Open  {made['url']}#code={made['code']}")
    click.echo(f"Code  {made['code']} (works once, within {made['life_s'] // 60} minutes)")
