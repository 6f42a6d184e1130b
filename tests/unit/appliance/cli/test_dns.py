"""`waypost dns …` over a local API server whose plugin answers as a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import run
from appliance.localapi.plugin_routes import MemoryPlugins
from appliance.localapi.plugin_schema import RunReply, RunRequest
from appliance.localapi.server import LocalApiServer
from tests.unit.appliance.local_gateway import in_thread, twin_backend

STATUS: dict[str, Any] = {
    "name": "gw.mesh.example",
    "search": ["mesh.example"],
    "listening": ["100.100.100.100:53"],
    "refused": {"192.168.1.1:53": "in use"},
    "host": {"way": "resolved", "wanted": "auto", "domains": ["mesh.example"], "error": ""},
    "translated": [
        {"router": "b", "inside": "192.168.1.0/24", "outside": "10.8.1.0/24", "example": "192-168-1-1-via-b"}
    ],
    "site_served": False,
    "upstreams": [
        {"name": "9.9.9.9", "route": "", "error": "", "latency_s": 0.004, "answered": 3, "looping": False},
        {"name": "10.0.0.1", "route": "corp", "error": "refuses", "latency_s": 0.0, "answered": 0, "looping": False},
    ],
    "counters": {"queries": 4, "failed": 0},
}


class Resolver(MemoryPlugins):
    """Gives a number, says once that the answer is still to come, then gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.view: dict[str, Any] = {}
        self.looks = 0

    async def run(self, request: RunRequest) -> RunReply:
        self.asked.append(request)
        match request.command:
            case "status":
                return RunReply(text=json.dumps(STATUS))
            case "query" if request.arguments[1] == "nonsense":
                return RunReply(text="no type", ok=False)
            case "query":
                return RunReply(text='{"number": 3}')
            case "result":
                self.looks += 1
                return RunReply(text=json.dumps(self.view) if self.looks > 1 else '{"number": 3}')
        return RunReply(text="2 answers forgotten")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    socket = str(tmp_path / "waypostd.sock")
    monkeypatch.setenv("WAYPOST_SOCKET", socket)
    plugins = Resolver()
    server = LocalApiServer(twin_backend(), socket, plugins)
    with in_thread(server):
        yield plugins


def test_ok__status(daemon: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "status"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "asks here, set by resolved for mesh.example",
        "192.168.1.1:53: in use",
        "9.9.9.9: 4 ms, 3 answers",
        "10.0.0.1 for corp: refuses",
        "192.168.1.0/24 as 10.8.1.0/24: 192-168-1-1-via-b",
        "queries 4",
    ):
        assert words in shown
    assert run(["dns", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_ok__query(daemon: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"name": "a.example", "type": "A", "ttl": 5, "data": "192.0.2.1"}
    daemon.view = {"name": "a.example", "type": "A", "rcode": "NOERROR", "source": "mesh", "seconds": 0.001}
    daemon.view["answers"] = [answer]
    assert run(["dns", "query", "a.example"]) == 0
    assert capsys.readouterr().out == "a.example. 5 A 192.0.2.1\nfrom the mesh, 1.0 ms\n"
    assert run(["dns", "query", "a.example", "AAAA", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == [answer]
    assert daemon.asked[-2].arguments == ("a.example", "AAAA")


def test_fail__query(daemon: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.view = {"name": "x", "type": "A", "rcode": "NXDOMAIN", "source": "resolvers", "seconds": 0.5, "answers": []}
    assert run(["dns", "query", "x"]) == 1
    assert "NXDOMAIN, no A record" in capsys.readouterr().out
    assert run(["dns", "query", "x", "nonsense"]) == 1
    assert "no type" in capsys.readouterr().err


def test_ok__flush(daemon: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "flush"]) == 0
    assert "2 answers forgotten" in capsys.readouterr().out
