"""`version`."""

from __future__ import annotations

from importlib.metadata import version as distribution_version

import click

from appliance.cli.client import DaemonUnreachableError
from appliance.cli.session import Session, json_option
from appliance.localapi.schema import VersionReply


@click.command()
@json_option
@click.pass_obj
def version(session: Session, as_json: bool) -> None:
    """Print the versions of this command and, where it runs, the daemon."""
    own = distribution_version("waypost")
    daemon: VersionReply | None
    try:
        daemon = session.client.get("version", VersionReply)
    except DaemonUnreachableError:
        daemon = None
    if as_json:
        session.print_json({"cli": own, "daemon": daemon})
        return
    click.echo(f"waypost  {own}")
    click.echo(f"waypostd {daemon.version}, local API {daemon.api}" if daemon else "waypostd is not running")
