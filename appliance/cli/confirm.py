"""`confirm`, and the time that `set --confirm-within` gives."""

from __future__ import annotations

import re
from typing import Any

import click
import msgspec

from appliance.cli.session import Session, json_option
from appliance.localapi.schema import PrefsPatch, PrefsView

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Span(click.ParamType[float]):
    """Seconds from a number with a unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _SPAN.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no time such as 60s, 5m or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


confirm_option = click.option(
    "--confirm-within",
    type=Span(),
    metavar="TIME",
    help="Take the change back after TIME (60s, 5m) unless `waypost confirm` comes before.",
)


def on_trial(patch: PrefsPatch, within_s: float | None, *, is_empty: bool) -> PrefsPatch:
    """The patch with its time to confirm. Raises `click.UsageError` when there is no change."""
    if within_s is None:
        return patch
    if is_empty:
        raise click.UsageError("--confirm-within needs a setting to change")
    return msgspec.structs.replace(patch, confirm_within_s=within_s)


def tell_trial(within_s: float | None) -> None:
    """What to do next."""
    if within_s is not None:
        click.echo(f"On trial: goes back in {within_s:g} s. To keep it, run: waypost confirm")


@click.command()
@json_option
@click.pass_obj
def confirm(session: Session, /, as_json: bool) -> None:
    """Keep the settings that are on trial."""
    view = session.client.post("confirm", None, PrefsView)
    if as_json:
        session.print_json(view)
    else:
        click.echo("The settings stay.")
