"""`waypost-control nodes attributes`, `set-attributes`, `remove-attributes`: what postures of the policy look at."""

from __future__ import annotations

import json
from typing import Any

import click

from control.cli.client import AdminClient
from control.cli.options import duration, json_option, life_s, show_result, show_table, socket_option, when


@click.command()
@click.argument("name")
@json_option
@socket_option
def attributes(client: AdminClient, name: str, as_json: bool) -> None:
    """Show the posture attributes of the node NAME: what it tells, and custom ones that were set."""
    node = client.call("GET", "nodes", name)
    expiries = node["attribute_expiries"]
    rows = [
        (key, json.dumps(value, ensure_ascii=False), when(expiries.get(key), "never"))
        for key, value in sorted(node["attributes"].items())
    ]
    show_table(
        as_json,
        {"attributes": node["attributes"], "expiries": expiries},
        ("attribute", "value", "expires"),
        rows,
        "no attributes: the node has told nothing yet",
    )


@click.command("set-attributes")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="custom:KEY=VALUE...")
@click.option("--expires", callback=duration, default="never", show_default=True, help="12h, 30d or never.")
@json_option
@socket_option
def set_attributes(client: AdminClient, name: str, values: tuple[str, ...], expires: float, as_json: bool) -> None:
    """Set custom attributes of the node NAME, for postures of the policy.

    VALUE is true, false, a number, or text; text that looks otherwise stands in double quotes.
    """
    wanted = parse_values(values)
    body = {"values": wanted, "life_s": life_s(expires)}
    node = client.call("PUT", "nodes", name, "attributes", body=body)
    show_result(as_json, node, f"node {node['name']}: {', '.join(sorted(wanted))} set")


@click.command("remove-attributes")
@click.argument("name")
@click.argument("names", nargs=-1, required=True, metavar="custom:KEY...")
@json_option
@socket_option
def remove_attributes(client: AdminClient, name: str, names: tuple[str, ...], as_json: bool) -> None:
    """Remove custom attributes of the node NAME."""
    node = client.call("POST", "nodes", name, "attributes", "remove", body={"names": list(names)})
    show_result(as_json, node, f"node {node['name']}: {', '.join(names)} removed")


def parse_values(settings: tuple[str, ...]) -> dict[str, Any]:
    """Raises `click.BadParameter` for what is no KEY=VALUE."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r}: write custom:tier=prod", param_hint="custom:KEY=VALUE")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
