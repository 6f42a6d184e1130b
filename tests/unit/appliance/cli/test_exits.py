"""`waypost exit …` against a real local API server on twins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.exits import NOTHING
from appliance.cli.main import run
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.localapi.schema import PrefsPatch
from tests.unit.appliance.cli.test_plugins import Daemon
from tests.unit.appliance.local_gateway import in_thread

EXITS = [{"stable_id": "n1", "name": "paris.mesh.example", "addresses": ["100.64.0.1"]}]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(str(tmp_path / "api.sock"))
    made.plugins.reply = RunReply(text=json.dumps(EXITS))
    with in_thread(made.server):
        yield made


def waypost(daemon: Daemon, *arguments: str) -> int:
    return run(["--socket", daemon.socket, "exit", *arguments])


@pytest.mark.parametrize("command", ["list", "status", "suggest"])
def test_ok__reading(daemon: Daemon, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, command, "--json") == 0
    assert json.loads(capsys.readouterr().out) == EXITS
    assert waypost(daemon, command) == 0
    assert daemon.plugins.asked == [
        RunRequest(plugin="exit_node", command=command, arguments=arguments) for arguments in (("--json",), ())
    ]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("use", "Paris"), {"use": "n1"}),
        (("use", "100.64.0.1", "--site", "--lan-access"), {"use": "n1", "lan_access": True, "site": True}),
        (("use", "auto", "--any-region"), {"use": "auto", "regions": []}),
        (("use", "auto", "--region", "fra", "--region", "par"), {"use": "auto", "regions": ["fra", "par"]}),
        (
            ("use", "paris", "--site", "--host", "eth1", "--not-host", "10.0.0.7", "--direct", "192.0.2.0/24"),
            {"use": "n1", "site": True, "hosts": ["eth1"], "not_hosts": ["10.0.0.7"], "direct": ["192.0.2.0/24"]},
        ),
        (("use", "paris", "--site", "--gateway-direct"), {"use": "n1", "site": True, "gateway_direct": True}),
        (("use", "paris", "--gateway-too"), {"use": "n1", "gateway_direct": False}),
        (("use", "paris", "--all-hosts", "--no-direct"), {"use": "n1", "hosts": [], "not_hosts": [], "direct": []}),
        (("off",), NOTHING),
        (("offer",), {"advertise": True}),
        (("offer", "--stop"), {"advertise": False}),
        (
            ("offer", "--uplink", "wg0", "--uplink-resolver", "10.64.0.1"),
            {"advertise": True, "uplink": "wg0", "uplink_resolvers": ["10.64.0.1"], "uplink_credentials": ""},
        ),
        (
            ("offer", "--uplink", "socks5://192.0.2.9:1080", "--uplink-credentials", "/etc/proxy"),
            {
                "advertise": True,
                "uplink": "socks5://192.0.2.9:1080",
                "uplink_resolvers": [],
                "uplink_credentials": "/etc/proxy",
            },
        ),
        (
            ("offer", "--no-uplink"),
            {"advertise": True, "uplink": "", "uplink_resolvers": [], "uplink_credentials": ""},
        ),
    ],
)
def test_ok__changing(daemon: Daemon, arguments: tuple[str, ...], settings: dict[str, object]) -> None:
    assert waypost(daemon, *arguments) == 0
    assert daemon.backend.asked == [PrefsPatch(plugins={"exit_node": settings})]


def test_ok__on_trial(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, "use", "paris", "--confirm-within", "60s") == 0
    assert daemon.backend.asked == [PrefsPatch(plugins={"exit_node": {"use": "n1"}}, confirm_within_s=60.0)]
    assert "waypost confirm" in capsys.readouterr().out


def test_fail__no_such_exit(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost(daemon, "use", "madrid") == 1
    assert "these do: paris" in capsys.readouterr().err
    daemon.plugins.reply = RunReply(text="[]")
    assert waypost(daemon, "use", "madrid") == 1
    assert "waypost exit offer" in capsys.readouterr().err
    assert daemon.backend.asked == []
    daemon.plugins.reply = RunReply(text="list failed", ok=False)
    assert waypost(daemon, "list") == 1
    assert "list failed" in capsys.readouterr().err
