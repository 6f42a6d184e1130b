"""`waypost-control policy fmt|add|remove|allow`: changes of a policy that keep its comments and its layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from appliance.types.errors import ApplianceError
from control.cli.client import AdminClient, RemoteError
from control.cli.options import json_option, show_json, show_result, socket_option
from control.cli.policy import FILE, policy, read_text, show_problems
from control.cli.policy_questions import explained

__all__ = ["policy"]

Change = Callable[[str], str]
RULES = ("acls", "grants", "ssh", "nodeAttrs", "tests", "sshTests")
NAMED = ("groups", "tagOwners", "ipsets", "postures", "autoApprovers.routes", "autoApprovers.services")
SECTIONS = (*NAMED, "hosts", "autoApprovers.exitNode", *RULES)
_file_option = click.option("--file", "file", type=FILE, help="Change this file instead of the policy in force.")
_print_option = click.option("--print", "printed", is_flag=True, help="Print the result instead of storing it.")


@policy.command()
@click.argument("file", type=FILE)
@click.option("--write", is_flag=True, help="Write the result back.")
@click.option("--check", is_flag=True, help="Only say whether the file has the layout; the exit code is 1 if not.")
@json_option
def fmt(file: str, write: bool, check: bool, as_json: bool) -> None:
    """Print the policy in FILE (- = standard input) in one layout, comments kept."""
    from control.policy.layout import format_hujson

    text = read_text(file)
    wanted = _changed(file, format_hujson, text)
    if write and wanted != text:
        _write(file, wanted)
    if as_json:
        show_json({"formatted": wanted == text, "text": wanted})
    elif check or write:
        words = "has the layout" if wanted == text else "written in the layout" if write else "is not in the layout"
        click.echo(f"{file}: {words}")
    else:
        click.echo(wanted, nl=False)
    if check and wanted != text and not write:
        raise click.exceptions.Exit(1)


@policy.command()
@click.argument("section", type=click.Choice(SECTIONS))
@click.argument("words", nargs=-1, required=True, metavar="[NAME] VALUE...")
@_file_option
@_print_option
@socket_option
@json_option
def add(
    section: str, words: tuple[str, ...], file: str | None, printed: bool, client: AdminClient, as_json: bool
) -> None:
    """Add to SECTION of the policy in force; everything else stays as it is written.

    \b
    policy add groups group:ops alice@ bob@
    policy add tagOwners tag:web group:ops
    policy add hosts nas 192.168.1.5
    policy add autoApprovers.routes 10.0.0.0/8 tag:gateway
    policy add grants '{"src": ["group:ops"], "dst": ["tag:web"], "ip": ["443"]}'
    """
    _apply(_addition(section, words), file, printed, client, as_json)


@policy.command()
@click.argument("section", type=click.Choice(SECTIONS))
@click.argument("words", nargs=-1, required=True, metavar="[NAME] [VALUE...]")
@_file_option
@_print_option
@socket_option
@json_option
def remove(
    section: str, words: tuple[str, ...], file: str | None, printed: bool, client: AdminClient, as_json: bool
) -> None:
    """Remove from SECTION of the policy in force: values of NAME, or NAME as a whole, or a rule given as JSON."""
    _apply(_removal(section, words), file, printed, client, as_json)


@policy.command()
@click.argument("source")
@click.argument("target")
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--proto", default="", help="tcp, udp, sctp or a number; default: any of them.")
@_print_option
@socket_option
@json_option
def allow(source: str, target: str, port: int, proto: str, printed: bool, client: AdminClient, as_json: bool) -> None:
    """Add the smallest rule that lets SOURCE reach PORT of TARGET, as `policy explain` names it."""
    found = explained(client, source, target, port, proto)
    if found["allowed"]:
        show_result(as_json, found, f"{source} reaches port {port} of {target} already")
        return
    _apply(_addition(found["section"], (found["line"],)), None, printed, client, as_json)


def _addition(section: str, words: tuple[str, ...]) -> Change:
    from control.policy.edit import append, put

    path, values = _path(section, words)
    if section == "hosts":
        if len(values) != 1:
            raise click.UsageError("hosts takes a name and one address")
        return lambda text: put(text, path, values[0])

    def change(text: str) -> str:
        for value in values:
            text = append(text, path, value)
        return text if values else put(text, path, [])

    return change


def _removal(section: str, words: tuple[str, ...]) -> Change:
    from control.policy.edit import remove as remove_member
    from control.policy.edit import remove_value

    path, values = _path(section, words)

    def change(text: str) -> str:
        for value in values:
            text = remove_value(text, path, value)
        return text

    return change if values and section != "hosts" else lambda text: remove_member(text, path)


def _path(section: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], list[Any]]:
    """Where in the document, and which values."""
    outer = tuple(section.split("."))
    if section in NAMED or section == "hosts":
        return (*outer, words[0]), list(words[1:])
    if section not in RULES:
        return outer, list(words)
    try:
        return outer, [json.loads(word) for word in words]
    except ValueError:
        raise click.UsageError(f"{section} takes rules as JSON objects") from None


def _apply(change: Change, file: str | None, printed: bool, client: AdminClient, as_json: bool) -> None:
    current: dict[str, Any] = {"text": read_text(file)} if file else client.call("GET", "policy")
    text = _changed(file or "policy in force", change, current["text"])
    if printed:
        click.echo(text, nl=not text.endswith("\n"))
    elif text == current["text"]:
        show_result(as_json, {**current, "changed": False}, "nothing to change")
    elif file:
        _write(file, text)
        show_result(as_json, {"text": text, "changed": True}, f"{file} changed")
    else:
        _store(client, text, current["version"], as_json)


def _store(client: AdminClient, text: str, base_version: int, as_json: bool) -> None:
    """In force only if nobody set another policy meanwhile."""
    try:
        stored = client.call("PUT", "policy", body={"text": text, "base_version": base_version})
    except RemoteError as error:
        if not error.problems:
            raise
        show_problems("changed policy", error.problems)
        raise click.exceptions.Exit(1) from None
    show_problems("changed policy", stored["problems"])
    show_result(as_json, {**stored, "changed": True}, f"policy version {stored['version']} is in force")


def _changed(name: str, change: Change, text: str) -> str:
    """The changed text; mistakes are printed with their places and end the command."""
    from control.policy.problems import PolicyError
    from control.service.present import problem_json

    try:
        return change(text)
    except PolicyError as error:
        show_problems(name, [problem_json(problem) for problem in error.problems])
        raise click.exceptions.Exit(1) from None


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise ApplianceError(
            f"cannot write {file}: {error.strerror}", mend="name a writable file", code="file"
        ) from None
