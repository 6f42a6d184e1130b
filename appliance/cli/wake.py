"""`wake`: Wake-on-LAN of a host of this site, or of another through its gateway."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.types.errors import ApplianceError

PLUGIN = "wake_on_lan"
WAIT_S = 15.0
LOOK_S = 0.05


class WakeCommandError(ApplianceError):
    code = "wake"


@click.command()
@click.argument("host", required=False)
@click.option("--interface", metavar="NAME", default="", help="Call on this network only.")
@click.option("--via", metavar="GATEWAY", default="", help="The host is at this gateway's site.")
@json_option
@click.pass_obj
def wake(session: Session, host: str | None, interface: str, via: str, as_json: bool) -> None:
    """Wake HOST: a name that is set, or a hardware address. Without HOST: show those that are set."""
    if host is None:
        text = _run(session, "list", *(("--json",) if as_json else ()))
        if as_json:
            session.print_json(json.loads(text))
        else:
            click.echo(text)
        return
    places = [part for name, value in (("--interface", interface), ("--via", via)) if value for part in (name, value)]
    view = _result(session, json.loads(_run(session, "wake", host, *places))["number"], host)
    if as_json:
        session.print_json(view)
    if view["error"]:
        raise WakeCommandError(view["error"], mend=view["mend"])
    if not as_json:
        where = f" at {view['target']['via']}" if view["target"]["via"] else ""
        click.echo(f"{host} ({view['target']['mac']}) was called on {', '.join(view['sent'])}{where}")


def _result(session: Session, number: int, host: str) -> dict[str, Any]:
    end = time.monotonic() + WAIT_S
    while True:
        view: dict[str, Any] = json.loads(_run(session, "result", str(number)))
        if "target" in view:
            return view
        if time.monotonic() > end:
            raise WakeCommandError(f"nothing is known yet about {host}", mend="see the log of waypostd")
        time.sleep(LOOK_S)  # noqa: TID251  # a command waits for its answer; nothing else runs in this process


def _run(session: Session, command: str, *arguments: str) -> str:
    reply = session.client.post(
        "plugins/run", RunRequest(plugin=PLUGIN, command=command, arguments=arguments), RunReply
    )
    if not reply.ok:
        raise WakeCommandError(reply.text)
    return reply.text
