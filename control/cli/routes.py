"""`waypost-control routes`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from control.cli.client import AdminClient
from control.cli.options import json_option, show_table, socket_option, split_list


@click.group()
def routes() -> None:
    """Subnets and exits that nodes offer. NODE is a node's name, id or overlay address."""


@routes.command("list")
@click.option("--node", help="Only this node.")
@json_option
@socket_option
def list_routes(client: AdminClient, node: str | None, as_json: bool) -> None:
    """List routes: advertised by the node, approved here, primary where it serves the subnet now.

    Of several nodes with the same subnet one is primary; the others take over when it goes or does not answer. A node
    that is not well is offline, expired or silent.
    """
    query = "" if node is None else f"?node={quote(node, safe='')}"
    _show(client.call("GET", "routes", query=query), as_json)


@routes.command()
@click.argument("node")
@click.argument("routes", nargs=-1)
@json_option
@socket_option
def approve(client: AdminClient, node: str, routes: tuple[str, ...], as_json: bool) -> None:
    """Let NODE serve ROUTES (networks, or exit); without any, all that it advertises."""
    _show(client.call("POST", "nodes", node, "routes", "approve", body={"routes": split_list(routes)}), as_json)


@routes.command()
@click.argument("node")
@click.argument("routes", nargs=-1)
@json_option
@socket_option
def revoke(client: AdminClient, node: str, routes: tuple[str, ...], as_json: bool) -> None:
    """Stop NODE from serving ROUTES; without any, all of them."""
    _show(client.call("POST", "nodes", node, "routes", "revoke", body={"routes": split_list(routes)}), as_json)


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    words = ("advertised", "approved", "primary", "well")
    rows = [(one["node"], one["route"], *("yes" if one[word] else "-" for word in words)) for one in found]
    show_table(
        as_json,
        found,
        ("node", "route", *words),
        rows,
        "no routes: a gateway offers them with waypost set --advertise-routes",
    )
