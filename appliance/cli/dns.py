"""`dns`: what the gateway's resolver does, and questions to it."""

from __future__ import annotations

import json
from typing import Any

import click

from appliance.cli.plugin_commands import PluginCommands
from appliance.cli.session import Session, json_option
from appliance.types.errors import ApplianceError

WAIT_S = 12.0


class DnsCommandError(ApplianceError):
    code = "dns"


MAGICDNS = PluginCommands("magicdns", DnsCommandError)


@click.group()
def dns() -> None:
    """Names: what the resolver does, and questions to it."""


@dns.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    """Show where the resolver answers, whom it asks, and whether this host asks it."""
    view = json.loads(MAGICDNS.ask(session, "status"))
    if as_json:
        session.print_json(view)
        return
    rows = [
        ("name", view["name"] or "not in a mesh"),
        ("search", " ".join(view["search"])),
        ("answers at", " ".join(view["listening"]) or "nowhere"),
        ("this host", _host_text(view["host"])),
        ("this site", "answered" if view["site_served"] else "not answered"),
    ]
    rows += [("cannot listen", f"{place}: {reason}") for place, reason in view["refused"].items()]
    rows += [("translated", f"{each['inside']} as {each['outside']}: {each['example']}") for each in view["translated"]]
    rows += [("resolver", _upstream_text(each)) for each in view["upstreams"]]
    counters = view["counters"]
    rows.append(("questions", ", ".join(f"{name} {value}" for name, value in counters.items() if value)))
    for label, value in rows:
        if value:
            click.echo(f"{label + ':':<15} {value}")


@dns.command()
@click.argument("name")
@click.argument("record_type", metavar="[TYPE]", default="A")
@json_option
@click.pass_obj
def query(session: Session, name: str, record_type: str, as_json: bool) -> None:
    """Ask the resolver for NAME. Exit code 1 when there is no such name, or no answer."""
    number = json.loads(MAGICDNS.ask(session, "query", name, record_type))["number"]
    late = DnsCommandError(f"no answer about {name}", mend="see: waypost dns status")
    view = MAGICDNS.outcome(session, number, "rcode", WAIT_S, late)
    if as_json:
        session.print_json(view)
    else:
        _show(view)
    if view["rcode"] != "NOERROR":
        raise click.exceptions.Exit(1)


@dns.command()
@click.pass_obj
def flush(session: Session) -> None:
    """Forget all answers in the cache."""
    click.echo(MAGICDNS.ask(session, "flush"))


def _show(view: dict[str, Any]) -> None:
    for each in view["answers"]:
        click.echo(f"{each['name']}. {each['ttl']} {each['type']} {each['data']}")
    if not view["answers"]:
        click.echo(f"{view['name']}: {view['rcode']}, no {view['type']} record")
    click.echo(f"from {'the mesh' if view['source'] == 'mesh' else 'resolvers'}, {view['seconds'] * 1000:.1f} ms")


def _host_text(host: dict[str, Any]) -> str:
    if host["way"]:
        scope = f" for {' '.join(host['domains'])}" if host["domains"] else ""
        return f"asks here, set by {host['way']}{scope}"
    return f"does not ask here: {host['error']}" if host["error"] else "does not ask here"


def _upstream_text(upstream: dict[str, Any]) -> str:
    route = f" for {upstream['route']}" if upstream["route"] else ""
    state = upstream["error"] or f"{upstream['latency_s'] * 1000:.0f} ms, {upstream['answered']} answers"
    return f"{upstream['name']}{route}: {'loops back here; not used' if upstream['looping'] else state}"
