"""`waypost-control nodes`."""

from __future__ import annotations

from typing import Any

import click

from control.cli.client import AdminClient
from control.cli.node_attributes import attributes, remove_attributes, set_attributes
from control.cli.node_exit import node_exit
from control.cli.node_requests import c2n, ping
from control.cli.node_settings import confirm_settings, set_settings
from control.cli.options import (
    confirm,
    duration,
    json_option,
    life_s,
    show_json,
    show_result,
    show_table,
    socket_option,
    split_list,
    when,
    yes_option,
)


@click.group()
def nodes() -> None:
    """Devices of the mesh. NAME is a node's name, id or overlay address."""


@nodes.command("list")
@json_option
@socket_option
def list_nodes(client: AdminClient, as_json: bool) -> None:
    """List the nodes."""
    found = client.call("GET", "nodes")
    rows = [
        (
            str(node["id"]),
            node["name"],
            node["user"] or ",".join(node["tags"]),
            *node["addresses"],
            _state(node),
            when(node["last_seen"]),
        )
        for node in found
    ]
    columns = ("id", "name", "owner", "IPv4", "IPv6", "state", "last seen")
    show_table(
        as_json,
        found,
        columns,
        rows,
        "no nodes yet: make a key with waypost-control preauthkeys create, then join with it",
    )


def _state(node: dict[str, Any]) -> str:
    if node["expired"]:
        return "expired"
    return "online" if node["online"] else "offline"


@nodes.command()
@json_option
@socket_option
def pending(client: AdminClient, as_json: bool) -> None:
    """List the devices that wait to be let in."""
    found = client.call("GET", "logins")
    rows = [
        (each["id"], each["hostname"], each["os"], ",".join(each["tags"]), each["remote_ip"], when(each["created"]))
        for each in found
    ]
    show_table(as_json, found, ("id", "name", "OS", "tags", "from", "since"), rows, "no device waits")


@nodes.command()
@click.argument("login_id", metavar="ID")
@click.option("--user", required=True, help="Who will own the device.")
@json_option
@socket_option
def register(client: AdminClient, login_id: str, user: str, as_json: bool) -> None:
    """Let in the device that waits under ID, as `nodes pending` or its URL shows it."""
    node = client.call("POST", "logins", _short(login_id), "approve", body={"user": user})
    show_result(as_json, node, f"node {node['name']} joined: {', '.join(node['addresses'])}")


@nodes.command()
@click.argument("login_id", metavar="ID")
@json_option
@socket_option
def deny(client: AdminClient, login_id: str, as_json: bool) -> None:
    """Turn away the device that waits under ID."""
    login = client.call("POST", "logins", _short(login_id), "deny")
    show_result(as_json, login, f"{login['hostname'] or 'the device'} may not join")


def _short(login_id: str) -> str:
    """The id of a pasted URL."""
    return login_id.rstrip("/").rpartition("/")[2] or "-"


@nodes.command()
@click.argument("name")
@json_option
@socket_option
def show(client: AdminClient, name: str, as_json: bool) -> None:
    """Show everything about the node NAME."""
    node = client.call("GET", "nodes", name)
    if as_json:
        show_json(node)
        return
    for key, value in {**node, "state": _state(node)}.items():
        if isinstance(value, dict):
            value = [f"{name}={held}" for name, held in value.items()]
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        click.echo(f"{key.replace('_', ' '):20} {'-' if value in (None, '', []) else text}")


@nodes.command()
@click.argument("name")
@click.argument("new_name")
@json_option
@socket_option
def rename(client: AdminClient, name: str, new_name: str, as_json: bool) -> None:
    """Give the node NAME another DNS name; it no longer follows the hostname."""
    node = client.call("PATCH", "nodes", name, body={"name": new_name})
    show_result(as_json, node, f"node {node['id']} is called {node['name']} now")


@nodes.command()
@click.argument("name")
@yes_option
@json_option
@socket_option
def expire(client: AdminClient, name: str, yes: bool, as_json: bool) -> None:
    """End the login of the node NAME: it must join again."""
    confirm(f"End the login of {name}?", yes)
    node = client.call("POST", "nodes", name, "expire")
    show_result(as_json, node, f"node {node['name']} must log in again")


@nodes.command("set-expiry")
@click.argument("name")
@click.argument("life", callback=duration, metavar="TIME")
@json_option
@socket_option
def set_expiry(client: AdminClient, name: str, life: float, as_json: bool) -> None:
    """Let the login of the node NAME end after TIME (12h, 30d or never), whether it has ended already or not."""
    node = client.call("PUT", "nodes", name, "expiry", body={"life_s": life_s(life)})
    show_result(as_json, node, f"the login of node {node['name']} ends: {when(node['key_expiry'], 'never')}")


@nodes.command("set-address")
@click.argument("name")
@click.argument("address")
@json_option
@socket_option
def set_address(client: AdminClient, name: str, address: str, as_json: bool) -> None:
    """Give the node NAME another overlay ADDRESS in the place of the one of its family."""
    node = client.call("PUT", "nodes", name, "address", body={"address": address})
    show_result(as_json, node, f"node {node['name']} has {', '.join(node['addresses'])}")


@nodes.command()
@click.argument("name")
@yes_option
@json_option
@socket_option
def delete(client: AdminClient, name: str, yes: bool, as_json: bool) -> None:
    """Remove the node NAME from the mesh; its addresses are not given again soon."""
    confirm(f"Delete the node {name}?", yes)
    node = client.call("DELETE", "nodes", name)
    show_result(as_json, node, f"node {node['name']} deleted")


@nodes.command()
@click.argument("name")
@click.argument("tags", nargs=-1, required=True)
@json_option
@socket_option
def tag(client: AdminClient, name: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Let TAGS own the node NAME instead of a user; they replace the tags that it has."""
    node = client.call("PUT", "nodes", name, "tags", body={"tags": split_list(tags)})
    show_result(as_json, node, f"node {node['name']} is owned by {', '.join(node['tags'])}")


nodes.add_command(ping)
nodes.add_command(c2n)
nodes.add_command(set_settings)
nodes.add_command(confirm_settings)
nodes.add_command(node_exit)
nodes.add_command(attributes)
nodes.add_command(set_attributes)
nodes.add_command(remove_attributes)
