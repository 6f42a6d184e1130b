"""`waypost-control policy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from appliance.types.errors import ApplianceError
from control.cli.client import AdminClient, RemoteError
from control.cli.options import json_option, show_json, show_result, show_table, socket_option

FILE = click.Path(exists=False, allow_dash=True, dir_okay=False)


@click.group()
def policy() -> None:
    """Who sees and reaches what. Without a policy everybody reaches everything."""


@policy.command()
@click.argument("file", type=FILE)
@json_option
def check(file: str, as_json: bool) -> None:
    """Check the policy in FILE (- = standard input); needs no server."""
    from control.policy.problems import PolicyError
    from control.service.policies import check_text
    from control.service.present import problem_json

    problems: list[dict[str, Any]] = []
    try:
        check_text(read_file(file))
    except PolicyError as error:
        problems = [problem_json(problem) for problem in error.problems]
    if as_json:
        show_json({"ok": not problems, "problems": problems})
    elif not problems:
        click.echo(f"{file}: the policy is good")
    if problems:
        if not as_json:
            show_problems(file, problems)
        raise click.exceptions.Exit(1)


@policy.command()
@json_option
@socket_option
def get(client: AdminClient, as_json: bool) -> None:
    """Print the policy in force, as it was given."""
    found = client.call("GET", "policy")
    if as_json:
        show_json(found)
    elif found["version"] == 0:
        click.echo("// no policy: everybody reaches everything")
    else:
        click.echo(found["text"], nl=not found["text"].endswith("\n"))


@policy.command("set")
@click.argument("file", type=FILE)
@click.option("--base-version", type=int, help="Refuse unless this version is in force.")
@json_option
@socket_option
def set_policy(client: AdminClient, file: str, base_version: int | None, as_json: bool) -> None:
    """Put the policy in FILE (- = standard input) in force."""
    body = {"text": read_text(file), "base_version": base_version}
    try:
        stored = client.call("PUT", "policy", body=body)
    except RemoteError as error:
        if not error.problems:
            raise
        show_problems(file, error.problems)
        raise click.exceptions.Exit(1) from None
    show_problems(file, stored["problems"])
    show_result(as_json, stored, f"policy version {stored['version']} is in force")


@policy.command()
@json_option
@socket_option
def history(client: AdminClient, as_json: bool) -> None:
    """Every version that was in force, the newest first."""
    found = client.call("GET", "policy", "history")
    rows = [[str(one["version"]), one["created"] or "", one["author"], str(len(one["text"]))] for one in found]
    show_table(as_json, found, ("version", "created", "author", "characters"), rows, "no policy was ever set")


@policy.command()
@click.argument("version", type=int)
@json_option
@socket_option
def revert(client: AdminClient, version: int, as_json: bool) -> None:
    """Put the text of an older VERSION in force again, as a new version."""
    try:
        stored = client.call("POST", "policy", "revert", body={"version": version})
    except RemoteError as error:
        if not error.problems:
            raise
        show_problems(f"version {version}", error.problems)
        raise click.exceptions.Exit(1) from None
    show_result(as_json, stored, f"policy version {stored['version']} is in force, the text of version {version}")


def show_problems(file: str, problems: list[dict[str, Any]]) -> None:
    """One line each on standard error, in the form that editors and CI tools parse."""
    for problem in problems:
        word = "warning: " if problem["warning"] else ""
        hint = f" ({problem['mend']})" if problem["mend"] else ""
        place = f"line {problem['line']}, column {problem['column']}"
        click.echo(f"{file}: {word}{place}: {problem['text']}{hint}", err=True)


def read_file(file: str) -> bytes:
    """The bytes of FILE, `-` = standard input. Raises `ApplianceError`."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ApplianceError(
            f"cannot read {file}: {error.strerror}", mend="name a readable file", code="file"
        ) from None


def read_text(file: str) -> str:
    try:
        return read_file(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ApplianceError(f"{file} is not UTF-8", mend="save it as UTF-8", code="file") from None
