"""`waypost plugins …` against a real local API server on twins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.main import run
from appliance.localapi.plugin_routes import MemoryPlugins
from appliance.localapi.plugin_schema import PluginView, RunReply, RunRequest
from appliance.localapi.schema import PrefsPatch
from appliance.localapi.server import LocalApiServer
from tests.unit.appliance.local_gateway import in_thread, twin_backend

pytestmark = pytest.mark.timeout(30)

PAGE = PluginView(
    name="status_page",
    state="degraded",
    enabled=True,
    purpose="A page",
    placement="apps",
    problem="plugin status_page: did not answer",
    commands={"sign-in": "Print a code"},
    settings={"port": 8080, "names": ["a"]},
    changed={"port": 8080},
)


class Daemon:
    def __init__(self, socket: str) -> None:
        self.backend = twin_backend()
        self.plugins = MemoryPlugins((PAGE,))
        self.socket = socket
        self.server = LocalApiServer(self.backend, socket, self.plugins)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(str(tmp_path / "api.sock"))
    with in_thread(made.server):
        yield made


def waypost(daemon: Daemon, *arguments: str) -> int:
    return run(["--socket", daemon.socket, "plugins", *arguments])


def test_ok__list(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, "list") == 0
    text = capsys.readouterr().out
    assert "status_page" in text
    assert "did not answer" in text
    assert waypost(daemon, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["commands"] == {"sign-in": "Print a code"}


@pytest.mark.parametrize(("command", "on"), [("enable", True), ("disable", False)])
def test_ok__switch(daemon: Daemon, command: str, on: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, command, "status_page") == 0
    assert daemon.backend.asked == [PrefsPatch(plugins={"status_page": {"enabled": on}})]
    assert "status_page is degraded" in capsys.readouterr().out


def test_ok__config(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, "config", "status_page") == 0
    assert capsys.readouterr().out == 'port = 8080\nnames = ["a"]  (default)\n'
    assert daemon.backend.asked == []
    assert waypost(daemon, "config", "status_page", "port=9", "title=My page", "--reset", "names", "--json") == 0
    changes = {"port": 9, "title": "My page", "names": None}
    assert daemon.backend.asked == [PrefsPatch(plugins={"status_page": changes})]
    assert json.loads(capsys.readouterr().out)["changed"] == {"port": 8080}


def test_ok__run(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.plugins.reply = RunReply(text="1234-5678")
    assert waypost(daemon, "run", "status_page", "sign-in", "--for", "ann") == 0
    assert capsys.readouterr().out == "1234-5678\n"
    expected = RunRequest(plugin="status_page", command="sign-in", arguments=("--for", "ann"))
    assert daemon.plugins.asked == [expected]


def test_ok__page_asks_the_status_page_for_a_code(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.plugins.reply = RunReply(text="Code: K7QF-3MXP")
    assert run(["--socket", daemon.socket, "page"]) == 0
    assert capsys.readouterr().out == "Code: K7QF-3MXP\n"
    assert daemon.plugins.asked == [RunRequest(plugin="status_page", command="code")]
    assert run(["--socket", daemon.socket, "page", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "Code: K7QF-3MXP"
    daemon.plugins.reply = RunReply(text="the status page is not served anywhere", ok=False)
    assert run(["--socket", daemon.socket, "page"]) == 1
    assert "not served" in capsys.readouterr().err


def test_ok__relay_status_asks_the_peer_relay(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.plugins.reply = RunReply(text='{"sessions": []}')
    assert run(["--socket", daemon.socket, "relay", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sessions": []}
    assert daemon.plugins.asked == [RunRequest(plugin="peer_relay", command="status", arguments=("--json",))]
    daemon.plugins.reply = RunReply(text="the relay is off", ok=False)
    assert run(["--socket", daemon.socket, "relay", "status"]) == 1
    assert "the relay is off" in capsys.readouterr().err


def test_ok__limits_asks_the_subnet_router(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.plugins.reply = RunReply(text='{"limits": []}')
    assert run(["--socket", daemon.socket, "limits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"limits": []}
    assert daemon.plugins.asked == [RunRequest(plugin="subnet_router", command="limits", arguments=("--json",))]
    daemon.plugins.reply = RunReply(text="no plugin has that command", ok=False)
    assert run(["--socket", daemon.socket, "limits"]) == 1
    assert "no plugin has" in capsys.readouterr().err


def test_fail__words(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, "enable", "ghost") == 1
    assert "installed are: status_page" in capsys.readouterr().err
    assert waypost(daemon, "config", "status_page", "nonsense") == 2
    daemon.plugins.reply = RunReply(text="the page is off", ok=False)
    assert waypost(daemon, "run", "status_page", "sign-in") == 1
    assert "the page is off" in capsys.readouterr().err


def test_ok__check_needs_no_daemon(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--socket", str(tmp_path / "none"), "plugins", "check", "subnet_router"]) == 0
    assert "appliance_configure: ok" in capfd.readouterr().out
    assert run(["--socket", str(tmp_path / "none"), "plugins", "check", "ghost"]) == 1
