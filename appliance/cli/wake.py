"""`wake`: Wake-on-LAN of a host of this site, or of another through its gateway."""

from __future__ import annotations

import json

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.types.errors import ApplianceError

WAIT_S = 15.0


class WakeCommandError(ApplianceError):
    code = "wake"


WAKE_ON_LAN = PluginCommands("wake_on_lan", WakeCommandError)


@click.command()
@click.argument("host", required=False)
@click.option("--interface", metavar="NAME", default="", help="Call on this network only.")
@click.option("--via", metavar="GATEWAY", default="", help="The host is at this gateway's site.")
@json_option
@click.pass_obj
def wake(session: Session, host: str | None, interface: str, via: str, as_json: bool) -> None:
    """Wake HOST: a name that is set, or a hardware address. Without HOST: show those that are set."""
    if host is None:
        return WAKE_ON_LAN.show(session, "list", as_json)
    places = [part for name, value in (("--interface", interface), ("--via", via)) if value for part in (name, value)]
    number = json.loads(WAKE_ON_LAN.ask(session, "wake", host, *places))["number"]
    late = WakeCommandError(f"nothing is known yet about {host}", mend="see the log of waypostd")
    view = WAKE_ON_LAN.outcome(session, number, "target", WAIT_S, late)
    if as_json:
        session.print_json(view)
    if view["error"]:
        raise WakeCommandError(view["error"], mend=view["mend"])
    if not as_json:
        where = f" at {view['target']['via']}" if view["target"]["via"] else ""
        click.echo(f"{host} ({view['target']['mac']}) was called on {', '.join(view['sent'])}{where}")
