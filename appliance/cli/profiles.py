"""`waypost profiles`: several logins of one gateway, one of them in use."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import ProfileChoice, ProfileView


@click.group()
def profiles() -> None:
    """Logins that this gateway keeps; `waypost up --profile NAME` makes another one."""


@profiles.command("list")
@json_option
@click.pass_obj
def list_profiles(session: Session, as_json: bool) -> None:
    """List the profiles; the star marks the one in use."""
    if as_json:
        session.print_json(session.client.raw("profiles"))
        return
    for each in session.client.get("profiles", tuple[ProfileView, ...]):
        who = each.login_name or ("logged in" if each.logged_in else "not logged in")
        click.echo(f"{'*' if each.current else ' '} {each.name:<20} {each.control_url or '-':<40} {who}")


@profiles.command()
@click.argument("name")
@json_option
@click.pass_obj
def switch(session: Session, name: str, as_json: bool) -> None:
    """Use the profile NAME from now on."""
    session.client.post("profiles/switch", ProfileChoice(name=name), dict)
    _say(session, as_json, {"current": name}, f"{name} is in use now; see waypost status")


@profiles.command()
@click.argument("name")
@json_option
@click.pass_obj
def delete(session: Session, name: str, as_json: bool) -> None:
    """Log the profile NAME out and forget it; not the one in use."""
    session.client.post("profiles/delete", ProfileChoice(name=name), dict)
    _say(session, as_json, {"deleted": name}, f"{name} is deleted")


def _say(session: Session, as_json: bool, value: dict[str, str], text: str) -> None:
    if as_json:
        session.print_json(value)
    else:
        click.echo(text)
