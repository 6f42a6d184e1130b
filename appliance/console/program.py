"""A program with a command line: commands that are loaded when used, and one way to end.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, and what `exit_codes` gives for an error.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from appliance.types.errors import ApplianceError

Commands = Mapping[str, tuple[str, str]]
"""Where a command is, as `module:attribute`, and its help in one line, by name."""


class LazyGroup(click.Group):
    """Knows names and one-line help of its commands without importing them."""

    def __init__(self, *arguments: Any, known: Commands, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._known = known

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._known)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = self._known.get(cmd_name)
        if known is None:
            return None
        module, _, attribute = known[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._known.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._known and not args[0].startswith("-"):
            import difflib  # only on the way to an error

            near = difflib.get_close_matches(args[0], self._known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def run_program(
    program: click.Command,
    name: str,
    arguments: Sequence[str] | None = None,
    exit_codes: Mapping[type[ApplianceError], int] | None = None,
) -> int:
    """Run it; the exit code."""
    try:
        result: Any = program.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ApplianceError as error:
        click.echo(f"{name}: {error.text}" + (f" → {error.mend}" if error.mend else ""), err=True)
        return next((code for kind, code in (exit_codes or {}).items() if isinstance(error, kind)), 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away; nothing is left to say
        return 1
    return result if isinstance(result, int) else 0
