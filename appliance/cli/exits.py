"""`exit`: which peer the traffic to the Internet leaves by. Asks and sets the plugin `exit_node`."""

from __future__ import annotations

import json
from typing import Any

import click

from appliance.cli.confirm import confirm_option, on_trial, tell_trial
from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.localapi.schema import PrefsPatch, PrefsView
from appliance.types.errors import ApplianceError

PLUGIN = "exit_node"
AUTO = "auto"


class ExitError(ApplianceError):
    code = "exit"


@click.group(name="exit")
def exits() -> None:
    """Send traffic to the Internet through a peer, or offer this gateway for it.

    While an exit is in use nothing leaves by another way: not when the exit is gone, and not when waypostd has died.
    """


@exits.command("list")
@json_option
@click.pass_obj
def list_command(session: Session, as_json: bool) -> None:
    """Show the exits that peers offer."""
    _show(session, "list", as_json)


@exits.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show which exit is in use, and what is protected."""
    _show(session, "status", as_json)


@exits.command()
@json_option
@click.pass_obj
def suggest(session: Session, as_json: bool) -> None:
    """Name the best exit from here: of those that answer, the one with the least latency."""
    _show(session, "suggest", as_json)


@exits.command()
@click.argument("name")
@click.option("--lan-access/--no-lan-access", default=None, help="Let this gateway reach its attached networks.")
@click.option("--site/--no-site", default=None, help="Hosts behind this gateway use the exit too.")
@click.option("--region", "regions", multiple=True, metavar="CODE", help="With auto: only exits of these regions.")
@confirm_option
@json_option
@click.pass_obj
def use(
    session: Session,
    name: str,
    lan_access: bool | None,
    site: bool | None,
    regions: tuple[str, ...],
    confirm_within: float | None,
    as_json: bool,
) -> None:
    """Use the exit NAME: a peer's name, address or stable id; `auto` takes the best, and another when it goes."""
    settings: dict[str, Any] = {"use": AUTO if name == AUTO else _stable_id(session, name)}
    settings |= {"lan_access": lan_access} if lan_access is not None else {}
    settings |= {"site": site} if site is not None else {}
    settings |= {"regions": list(regions)} if regions else {}
    _set(session, settings, confirm_within)
    _show(session, "status", as_json)
    if not as_json:
        tell_trial(confirm_within)


@exits.command()
@confirm_option
@json_option
@click.pass_obj
def off(session: Session, confirm_within: float | None, as_json: bool) -> None:
    """Use no exit: traffic leaves directly, as before."""
    _set(session, {"use": "", "site": False, "lan_access": False, "regions": []}, confirm_within)
    _show(session, "status", as_json)


@exits.command()
@click.option("--stop", is_flag=True, help="Do not offer it any more.")
@confirm_option
@json_option
@click.pass_obj
def offer(session: Session, stop: bool, confirm_within: float | None, as_json: bool) -> None:
    """Offer this gateway as an exit; control must approve it."""
    _set(session, {"advertise": not stop}, confirm_within)
    _show(session, "status", as_json)


def _set(session: Session, settings: dict[str, Any], confirm_within: float | None) -> None:
    patch = on_trial(PrefsPatch(plugins={PLUGIN: settings}), confirm_within, is_empty=False)
    session.client.patch("prefs", patch, PrefsView)


def _stable_id(session: Session, name: str) -> str:
    """Raises `ExitError` naming the exits that there are."""
    found = json.loads(_ask(session, "list", "--json"))
    wanted = name.lower().rstrip(".")
    for each in found:
        names = (each["stable_id"].lower(), each["name"].lower(), each["name"].partition(".")[0].lower())
        if wanted in (*names, *each["addresses"]):
            return str(each["stable_id"])
    offered = ", ".join(each["name"].partition(".")[0] for each in found)
    mend = f"these do: {offered}" if offered else "on that peer run: waypost exit offer; and approve it on control"
    raise ExitError(f"{name} offers no exit to this node", mend=mend)


def _show(session: Session, command: str, as_json: bool) -> None:
    text = _ask(session, command, *(["--json"] if as_json else []))
    if as_json:
        session.print_json(json.loads(text))
    else:
        click.echo(text)


def _ask(session: Session, command: str, *arguments: str) -> str:
    request = RunRequest(plugin=PLUGIN, command=command, arguments=arguments)
    reply = session.client.post("plugins/run", request, RunReply)
    if not reply.ok:
        raise ExitError(reply.text)
    return reply.text
