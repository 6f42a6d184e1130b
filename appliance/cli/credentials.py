"""Pre-auth keys from where they do not leak: a file, standard input or the environment.

An argument can be read by every user of the machine while the command runs, so a key given that way works with a note.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from appliance.types.errors import ApplianceError

ENVIRONMENT = "WAYPOST_AUTH_KEY"
_MAX_CHARACTERS = 1024


class CredentialError(ApplianceError):
    """The pre-auth key cannot be read or is no key."""

    code = "auth-key"


def read_auth_key(argument: str | None, file: str | None) -> str:
    """The key by precedence: `--auth-key-file`, `--auth-key`, environment; "" when none is given."""
    if argument and file:
        raise CredentialError("both --auth-key and --auth-key-file are given", mend="give one of them")
    if file:
        return _checked(_from_file(file), file)
    if argument == "-":
        return _checked(sys.stdin.readline(), "standard input")
    if argument and argument.startswith("file:"):
        return _checked(_from_file(argument[5:]), argument[5:])
    if argument:
        click.echo("note: arguments can be read by other users of this machine; prefer --auth-key-file", err=True)
        return _checked(argument, "--auth-key")
    value = os.environ.get(ENVIRONMENT, "")
    return _checked(value, ENVIRONMENT) if value else ""


def _from_file(name: str) -> str:
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CredentialError(f"cannot read the pre-auth key from {name}: {reason}", mend="check the path") from None


def _checked(text: str, source: str) -> str:
    key = text.strip()
    if not key or len(key) > _MAX_CHARACTERS or not key.isascii() or any(c.isspace() for c in key):
        mend = "it holds one key and nothing else, as printed by: waypost-control preauthkeys create"
        raise CredentialError(f"{source} holds no pre-auth key", mend=mend)
    return key
