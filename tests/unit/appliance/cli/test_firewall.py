"""`waypost debug firewall` against a real local API server on twins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.cli.main import run
from appliance.localapi.firewall_routes import MemoryFirewall
from appliance.localapi.firewall_schema import FirewallQuery
from appliance.localapi.server import LocalApiServer
from tests.unit.appliance.local_gateway import in_thread, twin_backend


@pytest.fixture
def filtering() -> MemoryFirewall:
    return MemoryFirewall()


@pytest.fixture
def waypost(filtering: MemoryFirewall, tmp_path: Path) -> Iterator[Callable[..., int]]:
    path = str(tmp_path / "api.sock")
    server = LocalApiServer(twin_backend(), path, firewall=filtering)
    with in_thread(server):
        yield lambda *arguments: run(["--socket", path, "debug", "firewall", *arguments])


def test_ok__passes(waypost: Callable[..., int], filtering: MemoryFirewall, capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("phone & co", "fd7a::1", "udp", "22") == 0
    assert filtering.asked == [FirewallQuery(source="phone & co", destination="fd7a::1", protocol="udp", port=22)]
    assert capsys.readouterr().out == (
        "udp from phone & co to fd7a::1 port 22: passes; accepted by filter rule 1 of 1\n"
    )


def test_ok__dropped_is_exit_code_1(waypost: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert waypost("a", "b", "tcp", "23") == 1
    assert "is dropped; no filter rule" in capsys.readouterr().out
    assert waypost("a", "b", "tcp", "23", "--json") == 1
    assert json.loads(capsys.readouterr().out)["accepted"] is False


def test_ok__defaults(waypost: Callable[..., int], filtering: MemoryFirewall) -> None:
    waypost("a", "b")
    assert filtering.asked == [FirewallQuery(source="a", destination="b", protocol="tcp", port=0)]


@pytest.mark.parametrize("arguments", [("a",), ("a", "b", "tcp", "65536"), ("a", "b", "tcp", "http")])
def test_fail__usage(waypost: Callable[..., int], arguments: tuple[str, ...]) -> None:
    assert waypost(*arguments) == 2
