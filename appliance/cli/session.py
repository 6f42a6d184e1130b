"""What every command needs: the client of the local API and where to print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from appliance.cli.client import LocalClient

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Session:
    """Made once per command; everything costly is made at first use."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.client = LocalClient(socket)

    def console(self, *, stderr: bool = False) -> Console:
        from rich.console import Console  # slow to import, and not needed with --json

        terminal = (sys.stderr if stderr else sys.stdout).isatty()
        return Console(stderr=stderr, highlight=False, width=None if terminal else 200)  # pipes get whole lines

    def print_json(self, value: Any) -> None:
        """Print a message or already encoded JSON, indented."""
        data = value if isinstance(value, bytes) else msgspec.json.encode(value)
        click.echo(msgspec.json.format(data, indent=2).decode().rstrip())
