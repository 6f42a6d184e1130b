"""`waypost-control config`."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.types.errors import ApplianceError, ConfigError
from control.cli.options import json_option, show_json


@click.group()
def config() -> None:
    """Check the settings file."""


@config.command()
@click.option(
    "--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="TOML file.  [default: as serve]"
)
@json_option
def check(file: Path | None, as_json: bool) -> int:
    """Check the whole settings file, and the files that it names, without starting anything."""
    problems = _problems(file)
    if as_json:
        show_json({"ok": not problems, "problems": problems})
    elif not problems:
        click.echo("the settings are good")
    for problem in () if as_json else problems:
        click.echo(problem["text"] + (f" → {problem['mend']}" if problem["mend"] else ""), err=True)
    return 1 if problems else 0


def _problems(file: Path | None) -> list[dict[str, str]]:
    from control.cli.config_file import ConfigProblemsError, load_config
    from control.server.check import check_files

    try:
        loaded = load_config({}, file)
    except ConfigProblemsError as error:
        return [{"place": one.place, "text": one.text, "mend": one.mend} for one in error.problems]
    except ConfigError as error:
        return [_shown(error)]
    return [_shown(error) for error in check_files(loaded.server)]


def _shown(error: ApplianceError) -> dict[str, str]:
    return {"place": "", "text": error.text, "mend": error.mend}
