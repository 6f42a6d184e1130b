"""`uplinks`: the ways to the Internet that this gateway chooses between."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import Status, UplinkStatus


@click.command()
@json_option
@click.pass_obj
def uplinks(session: Session, as_json: bool) -> None:
    """Show each uplink of the configuration, how well it works and which one carries the mesh."""
    found = session.client.get("status?peers=0", Status).uplinks
    if as_json:
        session.print_json(found)
        return
    if not found:
        click.echo("The host's own default route is used; name two interfaces in [paths] uplinks to choose here.")
    for uplink in found:
        click.echo(uplink_line(uplink))


def uplink_line(uplink: UplinkStatus) -> str:
    """One line of the table."""
    latency = f"{uplink.latency_s * 1000:.1f} ms" if uplink.latency_s is not None else "-"
    mark = "* " if uplink.in_use else "  "
    return f"{mark}{uplink.interface:<16}{uplink.state:<8}{latency:>10}  {uplink.loss:.0%} lost"
