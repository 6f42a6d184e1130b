"""`waypost-control config check`: everything that is wrong, at once, with the mend."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from control.cli.config_file import load_config
from control.cli.config_sections import SECTIONS
from control.cli.main import run

GUIDE = Path(__file__).parents[4] / "docs" / "control" / "settings.md"
WHOLE = GUIDE.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
"""The example of the guide: every section."""


def write(folder: Path, text: str) -> Path:
    file = folder / "c.toml"
    file.write_text(text)
    return file


def test_ok__every_section_arrives(tmp_path: Path) -> None:
    server = load_config({}, write(tmp_path, WHOLE)).server
    assert set(tomllib.loads(WHOLE)) - {"version"} == {*SECTIONS, "notices"}
    assert server.map_settings.dns.split == {"corp.example": ("10.0.0.53",)}
    assert server.map_settings.dns.records[0].type == "A"
    assert server.map_settings.dns.exit_filtered == (".internal",)
    assert server.map_settings.stock.urgent
    assert server.map_settings.gateways.latest == "0.2.0"
    assert server.map_settings.notices[0].severity == "high"
    assert server.map_settings.certificates
    assert server.derp_map_refresh_s == 3600
    assert server.token_audiences == ("vault",)
    assert server.acme is not None
    assert (server.acme.names, str(server.acme.challenge_listen)) == (("control.example",), "[::]:80")
    assert server.acme.challenge == "http-01"
    assert server.country_file == Path("/var/lib/waypost-control/country.mmdb")
    assert str(server.metrics_listen) == "127.0.0.1:9090"


def test_ok__good_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "version = 1\n[server]\ndomain = 'mesh.test'\n"
    assert run(["config", "check", "--config", str(write(tmp_path, text))]) == 0
    assert "good" in capsys.readouterr().out


def test_fail__all_problems_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
version = 1
dsn = 1
[dns]
nameservers = ["nobody"]
magic = "yes"
[[dns.records]]
name = "x.mesh.test"
value = "fd00::1"
type = "A"
[[notices]]
id = "a"
[derp_map]
refresh = "1s"
[clients]
latest = "newest"
[dns.split]
"bad..name" = []
"""
    assert run(["config", "check", "--json", "--config", str(write(tmp_path, text))]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert {problem["place"] for problem in found["problems"]} == {
        "dsn",
        "dns.nameservers",
        "dns.magic",
        "dns.split",
        "dns.records[1]",
        "notices[1]",
        "derp_map.refresh",
        "clients.latest",
    }
    assert all(problem["mend"] for problem in found["problems"])


def test_fail__an_authority_needs_terms_and_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
version = 1
[tls]
acme = "http://authority.example/dir"
contact = ["nobody"]
"""
    assert run(["config", "check", "--json", "--config", str(write(tmp_path, text))]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {problem["place"] for problem in found["problems"]} == {
        "tls.acme",
        "tls.names",
        "tls.accept_terms",
        "tls.contact",
    }


def test_fail__files_that_settings_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy").write_text("{ acls: }")
    text = f"""
version = 1
[server]
tls_cert = "{tmp_path}/cert"
tls_key = "{tmp_path}/key"
policy = "{tmp_path}/policy"
derp_host = "relay.example,nonsense"
[derp_map]
files = ["{tmp_path}/derp.json"]
[certificates]
set_dns_command = ["{tmp_path}/none"]
[metrics]
listen = "0.0.0.0:9090"
token_file = "{tmp_path}/token"
"""
    assert run(["config", "check", "--config", str(write(tmp_path, text))]) == 1
    said = capsys.readouterr().err
    for name in ("cert", "policy", "nonsense", "derp.json", "none is no program", "token"):
        assert name in said
    assert len(said.strip().splitlines()) == 6
