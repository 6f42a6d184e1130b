"""`waypost metrics`."""

from __future__ import annotations

import json

import click

from appliance.cli.session import Session, json_option


@click.command()
@json_option
@click.pass_obj
def metrics(session: Session, as_json: bool) -> None:
    """Print what this gateway and its plugins measure, in Prometheus' text format."""
    text = session.client.raw("metrics").decode()
    if as_json:
        samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        text = json.dumps({name: float(value) for name, _, value in samples}) + "\n"
    click.echo(text, nl=False)
