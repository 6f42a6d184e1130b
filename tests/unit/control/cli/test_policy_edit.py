"""`policy fmt`, `add`, `remove` and `allow`: files, and the policy in force of a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.cli.main import run
from control.service.actor import SYSTEM
from tests.unit.control.cli.conftest import Shell

POLICY = """{
  // people
  "groups": {"group:ops": ["alice@"]}, // on call
  "grants": [
    {"src": ["group:ops"], "dst": ["*"], "ip": ["22"]}, // log in
  ],
}
"""


@pytest.fixture
async def mesh(shell: Shell) -> Shell:
    for number, user in ((1, "alice"), (2, "bob")):
        await shell.run("users", "create", user)
        await shell.join(number, (await shell.json("preauthkeys", "create", "--user", user))["key"])
    await shell.service.policies.set(SYSTEM, POLICY)
    return shell


async def test_ok__add_and_remove_keep_what_is_written(mesh: Shell) -> None:
    out, _ = await mesh.run("policy", "add", "groups", "group:ops", "bob@", "alice@")
    assert "policy version 2 is in force" in out
    await mesh.run("policy", "add", "tagOwners", "tag:web", "group:ops")
    await mesh.run("policy", "add", "hosts", "nas", "10.0.0.5")
    await mesh.run("policy", "add", "autoApprovers.routes", "10.0.0.0/8", "tag:web")
    await mesh.run("policy", "add", "autoApprovers.exitNode", "tag:web")
    wanted = POLICY.replace('["alice@"]', '["alice@", "bob@"]').removesuffix("}\n") + (
        '  "tagOwners": {"tag:web": ["group:ops"]},\n'
        '  "hosts": {"nas": "10.0.0.5"},\n'
        '  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:web"]}, "exitNode": ["tag:web"]},\n'
        "}\n"
    )
    assert (await mesh.json("policy", "get"))["text"] == wanted
    for words in (("autoApprovers.exitNode", "tag:web"), ("autoApprovers.routes", "10.0.0.0/8"), ("hosts", "nas")):
        await mesh.run("policy", "remove", *words)
    await mesh.run("policy", "remove", "groups", "group:ops", "bob@")
    text = (await mesh.json("policy", "get"))["text"]
    assert text.startswith(POLICY.removesuffix("}\n"))
    assert (await mesh.json("policy", "add", "groups", "group:ops", "alice@"))["changed"] is False


async def test_ok__allow_adds_the_smallest_rule(mesh: Shell) -> None:
    assert "already" in (await mesh.run("policy", "allow", "gw1", "gw2", "22"))[0]
    printed, _ = await mesh.run("policy", "allow", "gw2", "gw1", "443", "--proto", "tcp", "--print")
    assert (await mesh.json("policy", "get"))["version"] == 1
    stored = await mesh.json("policy", "allow", "gw2", "gw1", "443", "--proto", "tcp")
    assert stored["text"] == printed
    assert '// log in\n    {"src": ["bob@"], "dst": ["alice@"], "ip": ["tcp:443"]},\n' in printed
    await mesh.run("policy", "explain", "gw2", "gw1", "443", "--proto", "tcp")


async def test_fail__what_is_refused_changes_nothing(mesh: Shell) -> None:
    for words, says in (
        (("add", "grants", '{"src": ["zoe"], "dst": ["*"], "ip": ["1"]}'), "host not found"),
        (("add", "tests", '{"src": "bob@", "accept": ["100.64.0.1:22"]}'), "does not reach"),
        (("remove", "groups", "group:none"), "is not there"),
        (("remove", "groups", "group:ops", "zoe@"), "is not there"),
    ):
        _, err = await mesh.run("policy", *words, code=1)
        assert says in err
    for words in (("add", "grants", "{"), ("add", "hosts", "nas"), ("add", "nothing", "x")):
        await mesh.run("policy", *words, code=2)
    assert (await mesh.json("policy", "get"))["version"] == 1


def test_ok__files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.hujson"
    file.write_text(POLICY.replace("  ", "\t"))
    assert run(["policy", "fmt", str(file), "--check"]) == 1
    assert run(["policy", "fmt", str(file)]) == 0
    assert POLICY in capsys.readouterr().out
    assert run(["policy", "fmt", str(file), "--write"]) == 0
    assert file.read_text() == POLICY
    assert run(["policy", "fmt", str(file), "--check"]) == 0
    capsys.readouterr()
    assert run(["policy", "fmt", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"formatted": True, "text": POLICY}
    assert run(["policy", "add", "groups", "group:ops", "bob@", "--file", str(file)]) == 0
    assert file.read_text() == POLICY.replace('["alice@"]', '["alice@", "bob@"]')
    file.write_text("{")
    assert run(["policy", "fmt", str(file)]) == 1
    assert "line 1, column 2" in capsys.readouterr().err
