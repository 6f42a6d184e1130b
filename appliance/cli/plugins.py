"""`plugins`: what is installed and how it goes, settings, commands of plugins, checks for those who write them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click

from appliance.cli.plugin_commands import PluginCommandError, PluginCommands
from appliance.cli.session import Session, json_option
from appliance.localapi.plugin_schema import PluginView
from appliance.localapi.schema import PrefsPatch, PrefsView

CHECK_MODULE = "appliance.pluginhost.check"


@click.group()
def plugins() -> None:
    """List, switch, set and check plugins. Nothing here touches the tunnels."""


@plugins.command("list")
@json_option
@click.pass_obj
def list_command(session: Session, as_json: bool) -> None:
    """Show every installed plugin."""
    views = session.client.get("plugins", tuple[PluginView, ...])
    if as_json:
        session.print_json(views)
        return
    for view in views:
        where = "own process" if view.placement == "apps" else "in waypostd"
        click.echo(f"{view.name:<20} {view.state:<9} {where:<12} {view.purpose}")
        if view.problem:
            click.echo(f"{'':<20} {view.problem}")


@plugins.command()
@click.argument("name")
@json_option
@click.pass_obj
def enable(session: Session, name: str, as_json: bool) -> None:
    """Start a plugin now and at every start."""
    _switch(session, name, True, as_json)


@plugins.command()
@click.argument("name")
@json_option
@click.pass_obj
def disable(session: Session, name: str, as_json: bool) -> None:
    """Stop a plugin now and keep it stopped."""
    _switch(session, name, False, as_json)


def _switch(session: Session, name: str, on: bool, as_json: bool) -> None:
    _find(session, name)
    session.client.patch("prefs", PrefsPatch(plugins={name: {"enabled": on}}), PrefsView)
    view = _find(session, name)
    if as_json:
        session.print_json(view)
    else:
        click.echo(f"{name} is {view.state}" + (f": {view.problem}" if view.problem else ""))


@plugins.command()
@click.argument("name")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reset", multiple=True, metavar="KEY", help="Back to the configuration file's value, or the default.")
@json_option
@click.pass_obj
def config(session: Session, name: str, changes: tuple[str, ...], reset: tuple[str, ...], as_json: bool) -> None:
    """Show or change a plugin's settings. Values are JSON; what is not JSON is text."""
    _find(session, name)
    table: dict[str, Any] = {key: None for key in reset}
    table.update(_change(text) for text in changes)
    if table:
        session.client.patch("prefs", PrefsPatch(plugins={name: table}), PrefsView)
    view = _find(session, name)
    if as_json:
        session.print_json({"name": name, "settings": view.settings, "changed": view.changed})
        return
    for key, value in (view.settings or view.changed).items():
        mark = "" if key in view.changed else "  (default)"
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}{mark}")


@plugins.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
@click.pass_obj
def run(session: Session, name: str, command: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Run a command of a plugin."""
    PluginCommands(name).show_text(session, command, *arguments, as_json=as_json)


@plugins.command()
@click.argument("target")
@json_option
def check(target: str, as_json: bool) -> int:
    """Check a plugin: the name of an installed one, or the folder of a plugin or its distribution.

    Runs the plugin's code in a process of its own, as the present user; waypostd is not needed.
    """
    command = [sys.executable, "-P", "-m", CHECK_MODULE, *(["--json"] if as_json else []), "--", target]
    return subprocess.run(command, check=False).returncode


def _change(text: str) -> tuple[str, Any]:
    key, sep, raw = text.partition("=")
    if not sep or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(raw)
    except ValueError:
        return key, raw


def _find(session: Session, name: str) -> PluginView:
    views = session.client.get("plugins", tuple[PluginView, ...])
    for view in views:
        if view.name == name:
            return view
    installed = ", ".join(view.name for view in views) or "none"
    raise PluginCommandError(f"no plugin is named {name}", mend=f"installed are: {installed}")
