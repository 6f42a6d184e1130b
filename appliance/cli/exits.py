"""`exit`: which peer the traffic to the Internet leaves by. Asks and sets the plugin `exit_node`."""

from __future__ import annotations

import json
from typing import Any

import click

from appliance.cli.confirm import confirm_option, on_trial, tell_trial
from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.localapi.schema import PrefsPatch, PrefsView
from appliance.types.errors import ApplianceError

AUTO = "auto"
NOTHING: dict[str, Any] = {
    "use": "",
    "site": False,
    "gateway_direct": False,
    "hosts": [],
    "not_hosts": [],
    "direct": [],
    "lan_access": False,
    "regions": [],
}


class ExitError(ApplianceError):
    code = "exit"


EXIT_NODE = PluginCommands("exit_node", ExitError)


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
    EXIT_NODE.show(session, "list", as_json)


@exits.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show which exit is in use, and what is protected."""
    EXIT_NODE.show(session, "status", as_json)


@exits.command()
@json_option
@click.pass_obj
def suggest(session: Session, as_json: bool) -> None:
    """Name the best exit from here: of those that answer, the one with the least latency."""
    EXIT_NODE.show(session, "suggest", as_json)


@exits.command()
@click.argument("name")
@click.option("--lan-access/--no-lan-access", default=None, help="Let this gateway reach its attached networks.")
@click.option("--site/--no-site", default=None, help="Hosts behind this gateway use the exit too.")
@click.option("--gateway-direct/--gateway-too", default=None, help="With --site: leave this gateway itself out.")
@click.option("--host", "hosts", multiple=True, metavar="WHO", help="Only this host or prefix behind it (with --site).")
@click.option("--not-host", "not_hosts", multiple=True, metavar="WHO", help="Not this host or prefix behind it.")
@click.option("--all-hosts", is_flag=True, help="All hosts behind it again.")
@click.option("--direct", multiple=True, metavar="PREFIX", help="Reach this destination past the exit.")
@click.option("--no-direct", is_flag=True, help="Reach no destination past the exit any more.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="CODE",
    help="With auto: only exits of these relays, countries or cities.",
)
@click.option("--any-region", is_flag=True, help="With auto: exits of all regions again.")
@confirm_option
@json_option
@click.pass_obj
def use(
    session: Session,
    name: str,
    lan_access: bool | None,
    site: bool | None,
    gateway_direct: bool | None,
    hosts: tuple[str, ...],
    not_hosts: tuple[str, ...],
    all_hosts: bool,
    direct: tuple[str, ...],
    no_direct: bool,
    regions: tuple[str, ...],
    any_region: bool,
    confirm_within: float | None,
    as_json: bool,
) -> None:
    """Use the exit NAME: a peer's name, address or stable id; `auto` takes the best, and another when it goes.

    WHO is an address, a prefix, a hardware address (which means a host in both IP versions) or an interface.
    """
    settings: dict[str, Any] = {"use": AUTO if name == AUTO else _stable_id(session, name)}
    settings |= {"lan_access": lan_access} if lan_access is not None else {}
    settings |= {"site": site} if site is not None else {}
    settings |= {"gateway_direct": gateway_direct} if gateway_direct is not None else {}
    settings |= {"hosts": list(hosts)} if hosts or all_hosts else {}
    settings |= {"not_hosts": list(not_hosts)} if not_hosts or all_hosts else {}
    settings |= {"direct": list(direct)} if direct or no_direct else {}
    settings |= {"regions": list(regions)} if regions or any_region else {}
    _set(session, settings, confirm_within)
    EXIT_NODE.show(session, "status", as_json)
    if not as_json:
        tell_trial(confirm_within)


@exits.command()
@confirm_option
@json_option
@click.pass_obj
def off(session: Session, confirm_within: float | None, as_json: bool) -> None:
    """Use no exit: traffic leaves directly, as before."""
    _set(session, NOTHING, confirm_within)
    EXIT_NODE.show(session, "status", as_json)


@exits.command()
@click.option("--stop", is_flag=True, help="Do not offer it any more.")
@click.option("--uplink", metavar="LINK|PROXY", help="Its users go on by this link (wg0) or proxy, or not at all.")
@click.option("--uplink-credentials", "credentials", metavar="FILE", help="Holds user:password for the proxy.")
@click.option("--uplink-resolver", "resolvers", multiple=True, metavar="IP", help="Looks names up for them, beyond it.")
@click.option("--no-uplink", is_flag=True, help="Its users go on by the host's own routes again.")
@confirm_option
@json_option
@click.pass_obj
def offer(
    session: Session,
    stop: bool,
    uplink: str | None,
    credentials: str | None,
    resolvers: tuple[str, ...],
    no_uplink: bool,
    confirm_within: float | None,
    as_json: bool,
) -> None:
    """Offer this gateway as an exit; control must approve it.

    A PROXY is socks5://HOST:PORT or http://HOST:PORT. It takes TCP, and by SOCKS5 UDP where it grants that; all else of
    the users is refused.
    """
    settings: dict[str, Any] = {"advertise": not stop}
    if uplink is not None or no_uplink:
        settings |= {"uplink": "" if no_uplink else uplink, "uplink_resolvers": [] if no_uplink else list(resolvers)}
        settings |= {"uplink_credentials": "" if no_uplink else credentials or ""}
    _set(session, settings, confirm_within)
    EXIT_NODE.show(session, "status", as_json)


def _set(session: Session, settings: dict[str, Any], confirm_within: float | None) -> None:
    patch = on_trial(PrefsPatch(plugins={EXIT_NODE.plugin: settings}), confirm_within, is_empty=False)
    session.client.patch("prefs", patch, PrefsView)


def _stable_id(session: Session, name: str) -> str:
    """Raises `ExitError` naming the exits that there are."""
    found = json.loads(EXIT_NODE.ask(session, "list", "--json"))
    wanted = name.lower().rstrip(".")
    for each in found:
        names = (each["stable_id"].lower(), each["name"].lower(), each["name"].partition(".")[0].lower())
        if wanted in (*names, *each["addresses"]):
            return str(each["stable_id"])
    offered = ", ".join(each["name"].partition(".")[0] for each in found)
    mend = f"these do: {offered}" if offered else "on that peer run: waypost exit offer; and approve it on control"
    raise ExitError(f"{name} offers no exit to this node", mend=mend)
