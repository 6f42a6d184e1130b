"""`waypost-control apikeys`."""

from __future__ import annotations

import click

from control.cli.client import AdminClient
from control.cli.options import (
    duration,
    json_option,
    life_s,
    public_part,
    show_result,
    show_table,
    socket_option,
    split_list,
    when,
)


@click.group()
def apikeys() -> None:
    """Keys with which programs manage the mesh."""


@apikeys.command()
@click.option(
    "--scopes", multiple=True, required=True, help="Of read, users, keys, nodes, routes, policy; joined by commas."
)
@click.option("--expiration", callback=duration, default="90d", show_default=True, help="12h, 30d or never.")
@click.option("--description", default="", help="What it is for.")
@click.option("--user", help="Whose key it is: it never does more than this user's role allows.")
@json_option
@socket_option
def create(
    client: AdminClient, scopes: tuple[str, ...], expiration: float, description: str, user: str | None, as_json: bool
) -> None:
    """Create a key. Its text is shown now and never again."""
    body = {
        "scopes": split_list(scopes),
        "life_s": life_s(expiration),
        "description": description,
        "user": user,
    }
    made = client.call("POST", "apikeys", body=body)
    show_result(as_json, made, made["key"])


@apikeys.command("list")
@json_option
@socket_option
def list_keys(client: AdminClient, as_json: bool) -> None:
    """List the keys, without their secrets."""
    found = client.call("GET", "apikeys")
    rows = [
        (
            str(key["id"]),
            key["prefix"],
            ",".join(key["scopes"]),
            key["author"],
            when(key["expiry"], "never"),
            key["state"],
            key["description"],
        )
        for key in found
    ]
    columns = ("id", "key", "scopes", "made by", "expires", "state", "description")
    show_table(as_json, found, columns, rows, "no API keys: waypost-control apikeys create --scopes read")


@apikeys.command()
@click.argument("key")
@json_option
@socket_option
def revoke(client: AdminClient, key: str, as_json: bool) -> None:
    """Revoke KEY, given by its id or the first part of its text."""
    revoked = client.call("POST", "apikeys", public_part(key, "wpkey-api-"), "revoke")
    show_result(as_json, revoked, f"API key {revoked['prefix']} revoked")
