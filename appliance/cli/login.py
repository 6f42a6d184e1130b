"""`up`, `down`, `logout`, `set`."""

from __future__ import annotations

import time
from typing import Any

import click

from appliance.cli.credentials import read_auth_key
from appliance.cli.progress import Progress
from appliance.cli.session import Session, json_option
from appliance.cli.settings import is_empty, patch_from, setting_options
from appliance.localapi.schema import PrefsView, Status, UpReply, UpRequest
from appliance.types.errors import ApplianceError
from appliance.types.events import BackendState


class NotUpError(ApplianceError):
    """`waypost up` did not reach its end."""

    code = "not-up"


@click.command()
@click.option("--control-url", "--login-server", "control_url", default="", metavar="URL", help="Control server.")
@click.option("--auth-key", metavar="-|file:PATH|KEY", help="Pre-auth key; '-' reads standard input.")
@click.option("--auth-key-file", metavar="PATH", help="File that holds the pre-auth key.")
@click.option("--force-login", is_flag=True, help="Log in anew although the stored login is valid.")
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="Seconds to wait; 0 for ever.")
@setting_options
@json_option
@click.pass_obj
def up(session: Session, /, timeout_s: float, as_json: bool, **values: Any) -> None:
    """Start the gateway and log in where needed. Settings given here stay; see also `waypost set`."""
    request = UpRequest(
        control_url=values["control_url"].rstrip("/"),
        auth_key=read_auth_key(values["auth_key"], values["auth_key_file"]),
        force_login=values["force_login"],
        prefs=patch_from(values),
    )
    session.client.post("up", request, UpReply)
    status = _wait_until_up(session, timeout_s)
    if as_json:
        session.print_json(status)
        return
    addresses = ", ".join(status.self_node.addresses)
    click.echo(f"{status.self_node.name or status.self_node.hostname} is up: {addresses}")
    if status.state == BackendState.NEEDS_APPROVAL:
        click.echo("It waits for the approval of an administrator of the mesh.")


def _wait_until_up(session: Session, timeout_s: float) -> Status:
    deadline = time.monotonic() + timeout_s if timeout_s > 0 else None
    shown_url = ""
    with Progress(session) as progress:
        for status in session.client.stream("watch?peers=0", Status):
            if status.login_error is not None:
                error = status.login_error
                raise NotUpError(error.text, mend=error.mend, code=error.code)
            if status.state in (BackendState.RUNNING, BackendState.NEEDS_APPROVAL):
                return status
            if status.state == BackendState.STOPPED:
                raise NotUpError("the gateway was stopped meanwhile", mend="run waypost up again")
            if status.auth_url and status.auth_url != shown_url:
                shown_url = status.auth_url
                progress.note(f"To log in, open: {shown_url}")
            progress.show(status.waiting_for or "starting")
            if deadline is not None and time.monotonic() > deadline:
                mend = "it goes on in the background; see waypost status, or give --timeout 0"
                raise NotUpError(f"not up after {timeout_s:g} s: {status.waiting_for or 'starting'}", mend=mend)
    raise NotUpError("waypostd stopped", mend="see its log: journalctl -u waypostd")


@click.command()
@click.pass_obj
def down(session: Session) -> None:
    """Stop the tunnel; the login stays and `waypost up` needs no key."""
    session.client.post("down", {}, dict)


@click.command()
@click.pass_obj
def logout(session: Session) -> None:
    """Tell control that this node leaves, and forget its keys."""
    session.client.post("logout", {}, dict)


@click.command(name="set")
@setting_options
@json_option
@click.pass_obj
def set_command(session: Session, /, as_json: bool, **values: Any) -> None:
    """Change settings; those not named stay. Without options, show them."""
    patch = patch_from(values)
    view = (
        session.client.get("prefs", PrefsView) if is_empty(patch) else session.client.patch("prefs", patch, PrefsView)
    )
    if as_json:
        session.print_json(view)
    elif is_empty(patch):
        _show(view)


def _show(view: PrefsView) -> None:
    lines = {
        "control url": view.control_url or "(none)",
        "running": "yes" if view.want_running else "no",
        "hostname": view.hostname or "(the machine's)",
        "tags": ", ".join(view.advertise_tags) or "(none)",
        "shields up": "yes" if view.shields_up else "no",
        "operator": view.operator or "(root only)",
    }
    for plugin, table in sorted(view.plugins.items()):
        lines.update({f"{plugin}.{key}": str(value) for key, value in sorted(table.items())})
    for name, value in lines.items():
        click.echo(f"{name + ':':<32} {value}")
