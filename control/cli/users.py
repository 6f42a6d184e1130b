"""`waypost-control users`."""

from __future__ import annotations

import click

from control.cli.client import AdminClient
from control.cli.options import confirm, json_option, show_json, show_result, show_table, socket_option, yes_option

ROLES = ("owner", "admin", "network-admin", "it-admin", "billing-admin", "auditor", "member")


@click.group()
def users() -> None:
    """People who own nodes."""


@users.command()
@click.argument("name")
@click.option("--email", default="", help="E-mail address; the policy may call the user by it.")
@click.option("--display-name", default="", help="Name that clients show.")
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@json_option
@socket_option
def create(client: AdminClient, name: str, email: str, display_name: str, role: str, as_json: bool) -> None:
    """Create the user NAME (lower-case letters, digits, . _ -)."""
    body = {"name": name, "email": email, "display_name": display_name, "role": role}
    show_result(as_json, client.call("POST", "users", body=body), f"user {name} created")


@users.command("list")
@json_option
@socket_option
def list_users(client: AdminClient, as_json: bool) -> None:
    """List the users."""
    found = client.call("GET", "users")
    rows = [(str(user["id"]), user["name"], user["email"], user["display_name"], user["role"]) for user in found]
    show_table(
        as_json,
        found,
        ("id", "name", "e-mail", "display name", "role"),
        rows,
        "no users: waypost-control users create NAME",
    )


@users.command()
@click.argument("name")
@click.argument("new_name")
@json_option
@socket_option
def rename(client: AdminClient, name: str, new_name: str, as_json: bool) -> None:
    """Rename the user NAME. Policy rules that use the old name stop meaning this user."""
    user = client.call("PATCH", "users", name, body={"name": new_name})
    show_result(as_json, user, f"user {name} is called {user['name']} now")


@users.command()
@click.argument("name")
@json_option
@socket_option
def show(client: AdminClient, name: str, as_json: bool) -> None:
    """Show the user NAME and what the role allows."""
    user = client.call("GET", "users", name)
    if as_json:
        show_json(user)
        return
    for key, value in user.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{key.replace('_', ' '):20} {text or '-'}")


@users.command("set-role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@json_option
@socket_option
def set_role(client: AdminClient, name: str, role: str, as_json: bool) -> None:
    """Give the user NAME another ROLE: it says what the user may do and which autogroups hold the user's nodes."""
    user = client.call("PUT", "users", name, "role", body={"role": role})
    show_result(as_json, user, f"user {user['name']} has the role {user['role']} now")


@users.command()
@click.argument("name")
@yes_option
@json_option
@socket_option
def delete(client: AdminClient, name: str, yes: bool, as_json: bool) -> None:
    """Delete the user NAME, who may not own nodes any more."""
    confirm(f"Delete the user {name} with its pre-auth keys and API keys?", yes)
    show_result(as_json, client.call("DELETE", "users", name), f"user {name} deleted")
