"""`status` and `health`."""

from __future__ import annotations

import click

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import Health, Status


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Stay and follow changes until Ctrl-C.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="List the peers.")
@click.pass_obj
def status(session: Session, as_json: bool, watch: bool, peers: bool) -> None:
    """Show this node, control and relay, peers with their paths, routes and health."""
    query = f"?peers={int(peers)}"
    if watch:
        _watch(session, f"watch{query}", as_json)
    elif as_json:
        session.print_json(session.client.raw(f"status{query}"))
    else:
        from appliance.cli.status_view import render  # brings rich

        console = session.console()
        console.print(render(session.client.get(f"status{query}", Status)))


def _watch(session: Session, name: str, as_json: bool) -> None:
    if as_json:
        import msgspec  # one compact line per change

        for line in session.client.stream(name, Status):
            click.echo(msgspec.json.encode(line))
        return
    from rich.live import Live  # brings rich

    from appliance.cli.status_view import render

    console = session.console()
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        for line in session.client.stream(name, Status):
            live.update(render(line), refresh=True)


@click.command()
@json_option
@click.pass_obj
def health(session: Session, as_json: bool) -> None:
    """Show what is wrong, most severe first. Exit code 1 when something is."""
    if as_json:
        session.print_json(session.client.raw("health"))
        return
    items = session.client.get("health", tuple[Health, ...])
    for item in items:
        click.echo(f"{item.severity}: {item.text} [{item.code}]" + (f"\n  → {item.mend}" if item.mend else ""))
    if not items:
        click.echo("healthy")
    else:
        raise click.exceptions.Exit(1)
