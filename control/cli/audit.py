"""`waypost-control audit`."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_table, socket_option, when


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Newest entries to show.")
@click.option("--who", default="", help="Only what this one did, as local:0 or node:7.")
@click.option("--action", default="", help="Only these, or those that begin so, as policy.set or node.")
@click.option("--target", default="", help="Only on these, or those that begin so, as node:7 or user:")
@json_option
@socket_option
def audit(client: AdminClient, limit: int, who: str, action: str, target: str, as_json: bool) -> None:
    """Show who changed what, newest first."""
    query = urlencode({"limit": limit, "who": who, "action": action, "target": target})
    found = client.call("GET", "audit", query=f"?{query}")
    rows = [
        (
            when(entry["time"]),
            entry["actor"],
            entry["action"],
            entry["target"],
            _fields(entry["before"]),
            _fields(entry["after"]),
        )
        for entry in found
    ]
    show_table(as_json, found, ("time", "who", "what", "on", "before", "after"), rows, "nothing was changed yet")


def _fields(values: dict[str, object] | None) -> str:
    return "" if values is None else ", ".join(f"{name}={value}" for name, value in values.items())
