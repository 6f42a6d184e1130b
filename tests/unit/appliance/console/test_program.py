"""How programs find their commands, and how they end."""

from __future__ import annotations

import click
import pytest

from appliance.console.program import LazyGroup, run_program
from appliance.types.errors import ApplianceError, ConfigError, StateError

KNOWN = {
    "completion": ("appliance.console.completion:completion", "Print the shell completion script."),
    "nothing": ("no.such.module:command", "Is never loaded."),
}


@click.group(cls=LazyGroup, known=KNOWN)
def program() -> None:
    """A program."""


def ending(error: BaseException | None) -> click.Command:
    @click.command()
    def command() -> int:
        if error is not None:
            raise error
        return 5

    return command


def test_ok__help_loads_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(program, "some-program", ["--help"]) == 0
    assert "Is never loaded." in capsys.readouterr().out


def test_ok__completion_is_for_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(program, "some-program", ["completion", "bash"]) == 0
    assert "_SOME_PROGRAM_COMPLETE=bash_complete" in capsys.readouterr().out


def test_fail__no_such_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(program, "some-program", ["completoin"]) == 2
    assert "Did you mean completion?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 5, ""),
        (ApplianceError("it is off", mend="switch it on"), 1, "some-program: it is off → switch it on\n"),
        (ConfigError("bad key"), 7, "some-program: bad key\n"),
        (StateError("no room"), 1, "some-program: no room\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.BadParameter("too long"), 2, "too long"),
    ],
)
def test_ok__exit_codes(capsys: pytest.CaptureFixture[str], error: BaseException | None, code: int, said: str) -> None:
    assert run_program(ending(error), "some-program", [], {ConfigError: 7}) == code
    assert said in capsys.readouterr().err
