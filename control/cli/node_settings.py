"""`waypost-control nodes set` and `nodes confirm`: settings of a gateway from afar, on trial until confirmed."""

from __future__ import annotations

import json
from typing import Any

import click

from appliance.proto.control.trial import CONFIRM_PATH, LEAST_CONFIRM_S, MOST_CONFIRM_S, SETTINGS_PATH
from control.cli.client import AdminClient
from control.cli.options import duration, json_option, show_json, show_result, socket_option

WHOLE = ("hostname", "shields_up")


@click.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option(
    "--confirm-within",
    "within_s",
    default="60s",
    show_default=True,
    callback=duration,
    metavar="TIME",
    help="The node takes the change back after TIME unless it is confirmed.",
)
@json_option
@socket_option
def set_settings(client: AdminClient, name: str, settings: tuple[str, ...], within_s: float, as_json: bool) -> None:
    """Change settings of the gateway NAME, on trial.

    KEY is hostname, shields_up, or PLUGIN.SETTING as `waypost plugins config` of the gateway shows it. VALUE is JSON;
    what is not JSON is taken as text, and null goes back to the gateway's own configuration.
    """
    if not LEAST_CONFIRM_S <= within_s <= MOST_CONFIRM_S:
        raise click.BadParameter("give a time from 5s to 1h", param_hint="--confirm-within")
    answer = _ask(
        client, name, "PATCH", SETTINGS_PATH, json.dumps({**patch_of(settings), "confirm_within_s": within_s})
    )
    if as_json:
        show_json(answer)
        return
    click.echo(f"{name} has the new settings on trial: they go back in {within_s:g} s.")
    click.echo(f"To keep them, run: waypost-control nodes confirm {name}")


@click.command("confirm")
@click.argument("name")
@json_option
@socket_option
def confirm_settings(client: AdminClient, name: str, as_json: bool) -> None:
    """Keep the settings that are on trial at the gateway NAME."""
    answer = _ask(client, name, "POST", CONFIRM_PATH, "")
    show_result(as_json, answer, f"{name} keeps its settings.")


def patch_of(settings: tuple[str, ...]) -> dict[str, Any]:
    """The request's fields. Raises `click.BadParameter` for a key that no gateway has."""
    patch: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        plugin, dot, inner = key.partition(".")
        if not equals or not (key in WHOLE or (plugin and dot and inner)):
            raise click.BadParameter(
                f"{setting!r}: write shields_up=true or PLUGIN.SETTING=VALUE", param_hint="KEY=VALUE"
            )
        value = _value(text)
        if dot:
            patch.setdefault("plugins", {}).setdefault(plugin, {})[inner] = value
        else:
            patch[key] = value
    return patch


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ask(client: AdminClient, name: str, method: str, path: str, body: str) -> Any:
    question = {"path": path, "method": method, "body": body, "timeout_s": 15.0}
    answer = client.call("POST", "nodes", name, "c2n", body=question)
    if answer["status"] == 400 and "unknown c2n path" in answer["body"]:
        raise click.ClickException(f"{name} takes no settings from control: it is no Waypost gateway, or an older one")
    if answer["status"] >= 400:
        raise click.ClickException(f"{name} refuses: {answer['body'].strip()}")
    return json.loads(answer["body"])
