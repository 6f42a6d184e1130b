"""`waypost-control counters`."""

from __future__ import annotations

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_table, socket_option


@click.command()
@json_option
@socket_option
def counters(client: AdminClient, as_json: bool) -> None:
    """Show what the server counts: refused requests, bad packets, relay traffic."""
    found = client.call("GET", "counters")
    rows = [(part, name, str(value)) for part, values in found.items() for name, value in values.items()]
    show_table(as_json, found, ("part", "counter", "value"), rows, "nothing was counted yet")
