"""What the commands share: options, durations, output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from control.cli.client import DEFAULT_SOCKET, AdminClient

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")


def socket_option(command: F) -> F:
    """`--socket`, handed over as `client`."""

    def connect(ctx: click.Context, parameter: click.Parameter, value: str) -> AdminClient:
        return AdminClient(value)

    return click.option(
        "--socket",
        "client",
        default=DEFAULT_SOCKET,
        envvar="WAYPOST_CONTROL_SOCKET",
        show_default=True,
        callback=connect,
        help="Admin socket of the control server.",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


NEVER = float("inf")


def parse_duration(text: str) -> float:
    """Seconds of `90m`, `12h`, `30d`, `1h30m`; `NEVER` of `never`. Raises `ValueError`."""
    if text == "never":
        return NEVER
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write 90m, 12h, 30d or never")
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def duration(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of options that take a duration."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def life_s(seconds: float) -> float | None:
    """As the server takes it: None for `NEVER`."""
    return None if seconds == NEVER else seconds


def public_part(key: str, prefix: str) -> str:
    """Id or public part of a key: a secret that was pasted with it does not travel further."""
    return key.strip().removeprefix(prefix).partition("-")[0] or key


def split_list(values: Sequence[str]) -> list[str]:
    """Repeated and comma-joined values as one list."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(as_json: bool, value: Any, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """JSON where asked for, else a table; `empty` is said when there is nothing."""
    if as_json:
        show_json(value)
        return
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=240)
    console.print(table)


def show_result(as_json: bool, value: Any, text: str) -> None:
    """JSON where asked for, else one line."""
    if as_json:
        show_json(value)
    else:
        click.echo(text)


def confirm(question: str, yes: bool) -> None:
    """Ask a person; a program or `--yes` is not asked."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def when(moment: str | None, otherwise: str = "-") -> str:
    """A time for a table, in local time."""
    if moment is None:
        return otherwise
    from datetime import datetime

    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
