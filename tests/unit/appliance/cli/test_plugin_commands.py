"""Commands that plugins answer, over a real local API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.plugin_commands import PluginCommandError, PluginCommands
from appliance.cli.session import Session
from appliance.localapi.plugin_routes import MemoryPlugins
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.localapi.server import LocalApiServer
from appliance.types.errors import ApplianceError
from tests.unit.appliance.local_gateway import in_thread, twin_backend


class OtherError(ApplianceError):
    code = "other"


@pytest.fixture
def plugins() -> MemoryPlugins:
    return MemoryPlugins()


@pytest.fixture
def session(plugins: MemoryPlugins, tmp_path: Path) -> Iterator[Session]:
    socket = str(tmp_path / "waypostd.sock")
    with in_thread(LocalApiServer(twin_backend(), socket, plugins)):
        yield Session(socket)


def test_ok__json_is_asked_for_only_when_wanted(
    plugins: MemoryPlugins, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.reply = RunReply(text='{"a":1}')
    PluginCommands("one").show(session, "status", as_json=False)
    assert capsys.readouterr().out == '{"a":1}\n'
    PluginCommands("one").show(session, "status", as_json=True)
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'
    asked = [RunRequest(plugin="one", command="status", arguments=each) for each in ((), ("--json",))]
    assert plugins.asked == asked


@pytest.mark.parametrize("refusal", [PluginCommandError, OtherError])
def test_fail__what_the_plugin_refuses(plugins: MemoryPlugins, session: Session, refusal: type[ApplianceError]) -> None:
    plugins.reply = RunReply(text="it is off", ok=False)
    with pytest.raises(refusal, match="it is off"):
        PluginCommands("one", refusal).ask(session, "status")


def test_fail__no_outcome_in_time(plugins: MemoryPlugins, session: Session) -> None:
    plugins.reply = RunReply(text='{"number":4}')
    with pytest.raises(OtherError, match="too late"):
        PluginCommands("one").outcome(session, 4, "done", 0.1, OtherError("too late"))
    assert plugins.asked[-1] == RunRequest(plugin="one", command="result", arguments=("4",))
    assert len(plugins.asked) > 1
