"""`up`, `login`, `down`, `logout`, `set`."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from appliance.cli.client import DaemonUnreachableError
from appliance.cli.confirm import confirm_option, on_trial, tell_trial
from appliance.cli.credentials import read_auth_key
from appliance.cli.login_page import describe
from appliance.cli.progress import Progress
from appliance.cli.session import Session, json_option
from appliance.cli.settings import is_empty, patch_from, setting_options
from appliance.localapi.schema import PrefsView, Status, UpReply, UpRequest
from appliance.types.errors import ApplianceError
from appliance.types.events import BackendState

F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S = 60.0
RESTART_S = 10.0
RETRY_S = 0.2


class NotUpError(ApplianceError):
    """`waypost up` did not reach its end."""

    code = "not-up"


def login_options(command: F) -> F:
    """What `up` and `login` share."""
    for option in reversed(_LOGIN_OPTIONS):
        command = option(command)
    return setting_options(json_option(command))


_LOGIN_OPTIONS = [
    click.option("--control-url", "--login-server", "control_url", default="", metavar="URL", help="Control server."),
    click.option("--auth-key", metavar="-|file:PATH|KEY", help="Pre-auth key; '-' reads standard input."),
    click.option("--auth-key-file", metavar="PATH", help="File that holds the pre-auth key."),
    click.option("--profile", default="", metavar="NAME", help="Use or make another login; see waypost profiles."),
    click.option("--ca-file", metavar="PATH", help="Private CA (PEM) of control and its relays; '' for none."),
    click.option("--qr/--no-qr", default=None, help="Draw the login page's address.  [default: on a terminal]"),
    click.option(
        "--timeout", "timeout_s", type=float, help="Seconds to wait, 0 for ever.  [default: 60, for ever at a page]"
    ),
]


@click.command()
@login_options
@click.option("--force-login", is_flag=True, help="Log in anew although the stored login is valid.")
@click.pass_obj
def up(session: Session, /, **values: Any) -> None:
    """Start the gateway and log in where needed. Settings given here stay; see also `waypost set`.

    Without a key it prints a page to open and waits until somebody has let this node in.
    """
    _up(session, values)


@click.command()
@login_options
@click.pass_obj
def login(session: Session, /, **values: Any) -> None:
    """Log in anew, as before the key expires; what runs goes on until the new login is done."""
    _up(session, {**values, "force_login": True})


def _up(session: Session, values: dict[str, Any]) -> None:
    request = UpRequest(
        control_url=values["control_url"].rstrip("/"),
        auth_key=read_auth_key(values["auth_key"], values["auth_key_file"]),
        force_login=values["force_login"],
        profile=values["profile"],
        prefs=patch_from(values),
    )
    session.client.post("up", request, UpReply)
    draw = values["qr"] if values["qr"] is not None else sys.stderr.isatty()
    status = _wait_until_up(session, values["timeout_s"], draw=draw)
    if values["as_json"]:
        session.print_json(status)
        return
    addresses = ", ".join(status.self_node.addresses)
    click.echo(f"{status.self_node.name or status.self_node.hostname} is up: {addresses}")
    if status.state == BackendState.NEEDS_APPROVAL:
        click.echo("It waits for the approval of an administrator of the mesh.")


def _wait_until_up(session: Session, timeout_s: float | None, *, draw: bool) -> Status:
    """`timeout_s` None: a minute, but as long as it takes where a person is awaited."""
    started = time.monotonic()
    shown_url = ""
    with Progress(session) as progress:
        for status in _statuses(session):
            if status.login_error is not None and not status.login_pending:
                error = status.login_error
                raise NotUpError(error.text, mend=error.mend, code=error.code)
            if status.state in (BackendState.RUNNING, BackendState.NEEDS_APPROVAL) and not status.login_pending:
                return status
            if status.state == BackendState.STOPPED and not status.login_pending:
                raise NotUpError("the gateway was stopped meanwhile", mend="run waypost up again")
            if status.auth_url and status.auth_url != shown_url:
                shown_url = status.auth_url
                progress.note(describe(shown_url, qr=draw))
            progress.show(status.waiting_for or "starting")
            limit_s = timeout_s if timeout_s is not None else 0.0 if status.auth_url else TIMEOUT_S
            if limit_s > 0 and time.monotonic() - started > limit_s:
                mend = "it goes on in the background; see waypost status, or give --timeout 0"
                raise NotUpError(f"not up after {limit_s:g} s: {status.waiting_for or 'starting'}", mend=mend)
    raise AssertionError("the status never ends without an error")


def _statuses(session: Session) -> Iterator[Status]:
    """Status lines, also over the moment in which the daemon starts anew for another profile."""
    lost_at: float | None = None
    while True:
        with contextlib.suppress(DaemonUnreachableError):
            for status in session.client.stream("watch?peers=0", Status):
                lost_at = None
                yield status
        lost_at = lost_at if lost_at is not None else time.monotonic()
        if time.monotonic() - lost_at > RESTART_S:
            raise NotUpError("waypostd stopped", mend="see its log: journalctl -u waypostd")
        threading.Event().wait(RETRY_S)


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
@confirm_option
@json_option
@click.pass_obj
def set_command(session: Session, /, as_json: bool, confirm_within: float | None, **values: Any) -> None:
    """Change settings; those not named stay. Without options, show them."""
    patch = patch_from(values)
    unchanged = is_empty(patch)
    patch = on_trial(patch, confirm_within, is_empty=unchanged)
    view = session.client.get("prefs", PrefsView) if unchanged else session.client.patch("prefs", patch, PrefsView)
    if as_json:
        session.print_json(view)
    elif unchanged:
        _show(view)
    else:
        tell_trial(confirm_within)


def _show(view: PrefsView) -> None:
    lines = {
        "control url": view.control_url or "(none)",
        "running": "yes" if view.want_running else "no",
        "hostname": view.hostname or "(the machine's)",
        "tags": ", ".join(view.advertise_tags) or "(none)",
        "shields up": "yes" if view.shields_up else "no",
        "operator": view.operator or "(root only)",
        "CA file": view.ca_file or "(none)",
    }
    for plugin, table in sorted(view.plugins.items()):
        lines.update({f"{plugin}.{key}": str(value) for key, value in sorted(table.items())})
    for name, value in lines.items():
        click.echo(f"{name + ':':<32} {value}")
