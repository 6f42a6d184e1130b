"""`waypost-control policy compile|test|diff|explain` on the documented example, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.cli.main import run

POLICY, MESH = "docs/examples/policy.hujson", "docs/examples/mesh.json"


def ask(capsys, *arguments, code=0):
    capsys.readouterr()
    assert run(["policy", *arguments]) == code
    return capsys.readouterr()


def test_ok__compile_prints_the_wire(capsys):
    nodes = json.loads(ask(capsys, "compile", POLICY, "--mesh", MESH, "--json").out)["nodes"]
    laptop, phone, gateway, web = nodes
    assert laptop["Peers"][0] == {
        "ID": 3,
        "Name": "gateway",
        "AllowedIPs": ["100.64.0.3/32", "fd7a:115c:a1e0::3/128", "192.168.1.0/24"],
    }
    assert [peer["Name"] for peer in phone["Peers"]] == ["web"]
    assert gateway["PacketFilter"][0]["IPProto"] == [6]
    assert gateway["SSHPolicy"]["rules"][0]["sshUsers"] == {"*": "=", "root": ""}
    assert gateway["CapMap"]["randomize-client-port"] is None
    assert gateway["AutoApprovedRoutes"] == ["192.168.1.0/24", "0.0.0.0/0", "::/0"]
    assert web["PacketFilter"][0]["DstPorts"] == [{"IP": "100.99.0.1", "Ports": {"First": 443, "Last": 443}}]
    assert web["CapGrants"] == []


def test_ok__compile_for_people(capsys):
    out = ask(capsys, "compile", POLICY, "--mesh", MESH, "--node", "gateway").out
    assert "gateway (node 3)" in out
    assert "sees laptop" in out
    assert "phone (node 2)" not in out


def test_ok__the_examples_tests_pass(capsys):
    assert "3 tests pass" in ask(capsys, "test", POLICY, "--mesh", MESH).out


def test_fail__a_test_says_which(capsys, tmp_path):
    file = tmp_path / "p.hujson"
    file.write_text(
        Path(POLICY)
        .read_text()
        .replace('"deny": ["tag:web:22"]', '"accept": ["tag:web:22"]', 1)
        .replace('"accept": ["tag:site:22", "nas:22"], ', "")
    )
    err = ask(capsys, "test", str(file), "--mesh", MESH, code=1).err
    assert "test(s) failed (alice@example.org does not reach tag:web:22)" in err


def test_ok__diff(capsys, tmp_path):
    file = tmp_path / "p.hujson"
    file.write_text(Path(POLICY).read_text().replace('"dst": ["tag:site", "nas"]', '"dst": ["tag:web"]'))
    out = ask(capsys, "diff", POLICY, str(file), "--mesh", MESH).out
    assert "+ laptop -> web: icmp *, tcp 22" in out
    assert "- laptop -> gateway: icmp *, tcp 22, route 192.168.1.0/24" in out
    assert "nobody gains" in ask(capsys, "diff", POLICY, POLICY, "--mesh", MESH).out


def test_ok__explain(capsys):
    asked = ["--policy", POLICY, "--mesh", MESH]
    assert "allowed\n  line 10, column 5: {" in ask(capsys, "explain", "laptop", "nas", "22", *asked).out
    out = ask(capsys, "explain", "phone", "gateway", "22", "--proto", "tcp", *asked, code=1).out
    assert "line 10, column 5 does not: its sources do not hold bob@example.org" in out
    assert '{"src": ["bob@example.org"], "dst": ["tag:site"], "ip": ["tcp:22"]}' in out


@pytest.mark.parametrize("command", ["compile", "test"])
def test_fail__a_wrong_mesh_has_its_place(capsys, tmp_path, command):
    file = tmp_path / "mesh.json"
    file.write_text('{"nodes": [{"name": "x"}]}')
    err = ask(capsys, command, POLICY, "--mesh", str(file), code=1).err
    assert "mesh.json: line 1, column 12: a node needs one IPv4 and one IPv6 address" in err
