"""Commands that a plugin answers, for those of `waypost` that are nothing but such a question."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import click

from appliance.cli.session import Session
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.types.errors import ApplianceError

LOOK_S = 0.05


class PluginCommandError(ApplianceError):
    code = "plugin-command"


@dataclass(frozen=True, slots=True)
class PluginCommands:
    """Those of one plugin; what it refuses is raised as `refusal`."""

    plugin: str
    refusal: type[ApplianceError] = PluginCommandError

    def ask(self, session: Session, command: str, *arguments: str) -> str:
        request = RunRequest(plugin=self.plugin, command=command, arguments=arguments)
        reply = session.client.post("plugins/run", request, RunReply)
        if not reply.ok:
            raise self.refusal(reply.text)
        return reply.text

    def show(self, session: Session, command: str, as_json: bool) -> None:
        """For a command that knows `--json` itself."""
        text = self.ask(session, command, *(["--json"] if as_json else []))
        if as_json:
            session.print_json(json.loads(text))
        else:
            click.echo(text)

    def show_text(self, session: Session, command: str, *arguments: str, as_json: bool) -> None:
        """For a command that answers in text alone."""
        text = self.ask(session, command, *arguments)
        if as_json:
            session.print_json(RunReply(text=text))
        else:
            click.echo(text)

    def outcome(self, session: Session, number: int, name: str, wait_s: float, late: ApplianceError) -> dict[str, Any]:
        """What became of the wish with that number: its view as soon as that has `name`, or `late` is raised."""
        end = time.monotonic() + wait_s
        while True:
            view: dict[str, Any] = json.loads(self.ask(session, "result", str(number)))
            if name in view:
                return view
            if time.monotonic() > end:
                raise late
            time.sleep(LOOK_S)  # noqa: TID251  # a command waits for its answer; nothing else runs in this process
