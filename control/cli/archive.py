"""`waypost-control backup` and `waypost-control restore`: on the database itself, with or without a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from control.cli.options import json_option, show_result

F = TypeVar("F", bound=Callable[..., Any])


def place_options(command: F) -> F:
    """Where the server keeps its state, given as to `serve`."""
    for option in (
        click.option("--database", help="URL of the database.  [default: as serve]"),
        click.option("--data-dir", help="Database and keys.  [default: as serve]"),
        click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file; flags win over it."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@place_options
@json_option
def backup(file: Path, config: Path | None, data_dir: str | None, database: str | None, as_json: bool) -> None:
    """Write the whole state and the server's keys to FILE, which only its owner reads. The server may run."""
    from control.cli.config_file import load_config
    from control.service.archive import back_up

    server = load_config({"data_dir": data_dir, "database": database}, config).server
    rows = asyncio.run(back_up(server.data_dir, server.database, file))
    show_result(as_json, {"file": str(file), "rows": rows}, f"{rows} rows and the server's keys are in {file}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@place_options
@json_option
def restore(file: Path, config: Path | None, data_dir: str | None, database: str | None, as_json: bool) -> None:
    """Bring a backup back into an empty database, of whatever kind. Nothing is overwritten."""
    from control.cli.config_file import load_config
    from control.service.archive import bring_back

    server = load_config({"data_dir": data_dir, "database": database}, config).server
    counts = asyncio.run(bring_back(server.data_dir, server.database, file))
    shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    show_result(as_json, {"rows": counts}, f"restored: {shown or 'nothing'}")
