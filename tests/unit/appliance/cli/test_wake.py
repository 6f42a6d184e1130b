"""`waypost wake` against a real local API server on twins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.cli.main import run
from appliance.localapi.plugin_routes import MemoryPlugins
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.localapi.server import LocalApiServer
from tests.unit.appliance.local_gateway import in_thread, twin_backend

TARGET = {"mac": "00:1a:2b:3c:4d:5e", "name": "nas", "interface": "", "via": "gateway-b"}


class Plugins(MemoryPlugins):
    """The wish is done at the second look."""

    outcome: dict[str, object] = {"target": TARGET, "at": "", "sent": ["lan0"], "error": "", "mend": ""}  # noqa: RUF012  # replaced, never changed

    async def run(self, request: RunRequest) -> RunReply:
        await super().run(request)
        if request.command == "list":
            return RunReply(text="[]" if request.arguments else "no hosts are set")
        looks = sum(each.command == "result" for each in self.asked)
        return RunReply(text=json.dumps(self.outcome if request.command == "result" and looks > 1 else {"number": 7}))


def test_ok__wake_waits_for_the_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugins, socket = Plugins(), str(tmp_path / "api.sock")
    with in_thread(LocalApiServer(twin_backend(), socket, plugins)):
        assert run(["--socket", socket, "wake", "nas", "--via", "gateway-b"]) == 0
        assert capsys.readouterr().out == "nas (00:1a:2b:3c:4d:5e) was called on lan0 at gateway-b\n"
        wanted = RunRequest(plugin="wake_on_lan", command="wake", arguments=("nas", "--via", "gateway-b"))
        assert plugins.asked[0] == wanted
        plugins.outcome = {**plugins.outcome, "error": "no network is attached", "mend": "attach one"}
        assert run(["--socket", socket, "wake", "nas", "--json"]) == 1
        told = capsys.readouterr()
        assert json.loads(told.out)["error"] == "no network is attached"
        assert "attach one" in told.err
        assert run(["--socket", socket, "wake"]) == 0
        assert capsys.readouterr().out == "no hosts are set\n"
        assert run(["--socket", socket, "wake", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
