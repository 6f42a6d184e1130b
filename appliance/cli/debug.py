"""`debug`: what a person who looks for a fault wants to see."""

from __future__ import annotations

import click
import msgspec

from appliance.cli.firewall import firewall
from appliance.cli.session import Session
from appliance.localapi.schema import EventLine, LoopDelay


@click.group()
def debug() -> None:
    """Look inside: netmap, events, counters, event loop, packet filter."""


debug.add_command(firewall)


@debug.command()
@click.option("--json", "as_json", is_flag=True, help="Accepted for uniformity: the netmap is always JSON.")
@click.pass_obj
def netmap(session: Session, as_json: bool) -> None:
    """Print the netmap as JSON."""
    session.print_json(session.client.raw("netmap"))


@debug.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--follow/--no-follow", default=True, help="Go on with new ones until Ctrl-C.  [default: follow]")
@click.pass_obj
def events(session: Session, as_json: bool, follow: bool) -> None:
    """Print recent state changes and follow new ones."""
    for line in session.client.stream("events" if follow else "events?follow=0", EventLine):
        if as_json:
            click.echo(msgspec.json.encode(line))
        else:
            fields = "  ".join(f"{name}={value}" for name, value in line.fields.items() if value not in ("", None))
            click.echo(f"{line.at.astimezone():%H:%M:%S}  {line.kind:<22} {fields}")


@debug.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def counters(session: Session, as_json: bool) -> None:
    """Print what was counted since the start: refused, dropped and limited packets by reason."""
    raw = session.client.raw("counters")
    if as_json:
        session.print_json(raw)
        return
    for name, value in msgspec.json.decode(raw, type=dict[str, int]).items():
        click.echo(f"{value:>12}  {name}")


@debug.command()
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="How long to measure.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def loop(session: Session, seconds: float, as_json: bool) -> None:
    """Measure how late the daemon's event loop is: what everything it serves waits for."""
    raw = session.client.raw(f"loop?seconds={seconds:g}", timeout_s=seconds + 10)
    if as_json:
        session.print_json(raw)
        return
    delay = msgspec.json.decode(raw, type=LoopDelay)
    click.echo(f"worst {delay.worst_s * 1e3:.1f} ms, p99 {delay.p99_s * 1e3:.1f} ms, {delay.samples} samples")
