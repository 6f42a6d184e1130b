"""`waypost-control nodes exit`: which exit a gateway uses, seen and switched from here."""

from __future__ import annotations

from typing import Any

import click

from control.cli.client import AdminClient
from control.cli.options import duration, json_option, show_json, show_result, socket_option


@click.command("exit")
@click.argument("name")
@click.argument("use", required=False, metavar="[EXIT|auto|off]")
@click.option("--site/--no-site", default=None, help="Hosts behind the gateway use the exit too.")
@click.option("--gateway-direct/--gateway-too", default=None, help="With --site: leave the gateway itself out.")
@click.option("--lan-access/--no-lan-access", default=None, help="Let the gateway reach its attached networks.")
@click.option("--region", "regions", multiple=True, metavar="CODE", help="With auto: only exits of these regions.")
@click.option("--any-region", is_flag=True, help="With auto: exits of all regions again.")
@click.option(
    "--confirm-within",
    "within_s",
    default="60s",
    show_default=True,
    callback=duration,
    metavar="TIME",
    help="The gateway takes the change back after TIME unless it is confirmed.",
)
@json_option
@socket_option
def node_exit(
    client: AdminClient,
    name: str,
    use: str | None,
    site: bool | None,
    gateway_direct: bool | None,
    lan_access: bool | None,
    regions: tuple[str, ...],
    any_region: bool,
    within_s: float,
    as_json: bool,
) -> None:
    """Show which exit the gateway NAME uses, or have it use EXIT, the best one (auto) or none (off), on trial."""
    if use is None:
        _show(client.call("GET", "nodes", name, "exit"), as_json)
        return
    who = {"use": use, "site": site, "gateway_direct": gateway_direct, "lan_access": lan_access}
    trial = {"regions": list(regions) if regions or any_region else None, "confirm_within_s": within_s}
    answer = client.call("PUT", "nodes", name, "exit", body={**who, **trial})
    if as_json:
        show_json(answer)
        return
    leaves = {"auto": "by the best exit", "off": "directly"}.get(use, f"by {use}")
    click.echo(f"{name} leaves {leaves} now, on trial: it goes back in {within_s:g} s.")
    click.echo(f"To keep it, run: waypost-control nodes confirm {name}")


def _show(found: dict[str, Any], as_json: bool) -> None:
    how = f"by {found['exit']}" if found["exit"] else "directly"
    text = f"{found['node']} leaves {how}{'; it is an exit itself' if found['offered'] else ''}"
    show_result(as_json, found, text)
