"""`debug`: what a person who looks for a fault wants to see."""

from __future__ import annotations

import click
import msgspec

from appliance.cli.session import Session
from appliance.localapi.schema import EventLine


@click.group()
def debug() -> None:
    """Look inside: netmap, events."""


@debug.command()
@click.option("--json", "as_json", is_flag=True, help="Accepted for uniformity: the netmap is always JSON.")
@click.pass_obj
def netmap(session: Session, as_json: bool) -> None:
    """Print the netmap as JSON."""
    session.print_json(session.client.raw("netmap"))


@debug.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--follow/--no-follow", default=True, help="Go on with new ones until Ctrl-C.  [default: follow]")
@click.pass_obj
def events(session: Session, as_json: bool, follow: bool) -> None:
    """Print recent state changes and follow new ones."""
    for line in session.client.stream("events" if follow else "events?follow=0", EventLine):
        if as_json:
            click.echo(msgspec.json.encode(line))
        else:
            fields = "  ".join(f"{name}={value}" for name, value in line.fields.items() if value not in ("", None))
            click.echo(f"{line.at.astimezone():%H:%M:%S}  {line.kind:<22} {fields}")
