"""`waypost-control preauthkeys`."""

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
def preauthkeys() -> None:
    """Keys with which nodes join without a person."""


@preauthkeys.command()
@click.option("--user", help="Owner of the nodes that join with it.")
@click.option("--tags", multiple=True, help="Tags of the nodes, as tag:gateway; repeat or join by commas.")
@click.option("--reusable", is_flag=True, help="More than one node may join with it.")
@click.option("--ephemeral", is_flag=True, help="Nodes are deleted soon after they disconnect.")
@click.option("--expiration", callback=duration, default="1h", show_default=True, help="90m, 12h, 30d or never.")
@click.option("--description", default="", help="What it is for.")
@json_option
@socket_option
def create(
    client: AdminClient,
    user: str | None,
    tags: tuple[str, ...],
    reusable: bool,
    ephemeral: bool,
    expiration: float,
    description: str,
    as_json: bool,
) -> None:
    """Create a key. Its text is shown now and never again."""
    body = {
        "user": user,
        "tags": split_list(tags),
        "reusable": reusable,
        "ephemeral": ephemeral,
        "life_s": life_s(expiration),
        "description": description,
    }
    made = client.call("POST", "preauthkeys", body=body)
    show_result(as_json, made, made["key"])


@preauthkeys.command("list")
@json_option
@socket_option
def list_keys(client: AdminClient, as_json: bool) -> None:
    """List the keys, without their secrets."""
    found = client.call("GET", "preauthkeys")
    rows = [
        (
            str(key["id"]),
            key["prefix"],
            key["user"] or ",".join(key["tags"]),
            ", ".join(word for word in ("reusable", "ephemeral") if key[word]) or "single use",
            when(key["expiry"], "never"),
            key["state"],
            key["description"],
        )
        for key in found
    ]
    columns = ("id", "key", "owner", "kind", "expires", "state", "description")
    show_table(as_json, found, columns, rows, "no pre-auth keys: waypost-control preauthkeys create --user NAME")


@preauthkeys.command()
@click.argument("key")
@json_option
@socket_option
def revoke(client: AdminClient, key: str, as_json: bool) -> None:
    """Revoke KEY, given by its id or the first part of its text. Nodes that joined with it stay."""
    revoked = client.call("POST", "preauthkeys", public_part(key, "wpkey-auth-"), "revoke")
    show_result(as_json, revoked, f"pre-auth key {revoked['prefix']} revoked")
