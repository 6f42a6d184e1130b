"""Roles of users, attributes of nodes and keys of users, by command."""

from __future__ import annotations

import pytest

from control.cli.node_attributes import parse_values
from control.service.actor import SYSTEM
from tests.unit.control.cli.conftest import Shell


async def test_ok__roles(shell: Shell) -> None:
    await shell.run("users", "create", "alice")
    out, _ = await shell.run("users", "set-role", "alice", "network-admin")
    assert "alice has the role network-admin now" in out
    shown = await shell.json("users", "show", "alice")
    assert (shown["role"], shown["permissions"]) == ("network-admin", ["read", "routes", "policy"])
    assert "read, routes, policy" in (await shell.run("users", "show", "alice"))[0]
    key = await shell.json("apikeys", "create", "--scopes", "read,users", "--user", "alice")
    actor = await shell.service.api_keys.actor_of(key["key"])
    assert (actor.role, key["user_id"]) == ("network-admin", shown["id"])
    _, err = await shell.run("users", "set-role", "nobody", "admin", code=1)
    assert "users create nobody" in err
    await shell.run("users", "set-role", "alice", "king", code=2)


async def test_ok__attributes(shell: Shell) -> None:
    await shell.run("users", "create", "alice")
    key = (await shell.json("preauthkeys", "create", "--user", "alice"))["key"]
    await shell.join(1, key, os="linux")
    out, _ = await shell.run("nodes", "set-attributes", "gw1", "custom:tier=prod", "custom:level=2", "--expires", "1d")
    assert "custom:level, custom:tier set" in out
    await shell.run("nodes", "set-attributes", "gw1", "custom:ok=true")
    shown = await shell.json("nodes", "attributes", "gw1")
    wanted = {"custom:tier": "prod", "custom:level": 2, "custom:ok": True, "node:os": "linux"}
    assert {name: shown["attributes"][name] for name in wanted} == wanted
    assert sorted(shown["expiries"]) == ["custom:level", "custom:tier"]
    assert "custom:tier" in (await shell.run("nodes", "attributes", "gw1"))[0]
    assert "custom:ok=True" in (await shell.run("nodes", "show", "gw1"))[0]
    removed = await shell.json("nodes", "remove-attributes", "gw1", "custom:tier")
    assert "custom:tier" not in removed["attributes"]
    _, err = await shell.run("nodes", "remove-attributes", "gw1", "custom:tier", code=1)
    assert "has no attribute custom:tier" in err
    await shell.run("nodes", "set-attributes", "gw1", "custom:tier", code=2)


async def test_ok__expiry_and_address(shell: Shell) -> None:
    await shell.run("users", "create", "alice")
    await shell.join(1, (await shell.json("preauthkeys", "create", "--user", "alice"))["key"])
    assert "never" in (await shell.run("nodes", "set-expiry", "gw1", "never"))[0]
    assert (await shell.json("nodes", "set-expiry", "gw1", "30d"))["key_expiry"] is not None
    await shell.run("nodes", "set-expiry", "gw1", "soon", code=2)
    assert "100.99.0.7" in (await shell.run("nodes", "set-address", "gw1", "100.99.0.7"))[0]
    _, err = await shell.run("nodes", "set-address", "gw1", "10.0.0.1", code=1)
    assert "not reserved" in err


async def test_ok__ssh_checks(shell: Shell) -> None:
    await shell.run("users", "create", "alice")
    for number, options in ((1, ("--user", "alice")), (2, ("--tags", "tag:srv"))):
        await shell.join(number, (await shell.json("preauthkeys", "create", *options))["key"])
    rule = '{"action": "check", "src": ["alice@"], "dst": ["tag:srv"], "users": ["root"]}'
    await shell.service.policies.set(SYSTEM, f'{{"tagOwners": {{"tag:srv": []}}, "ssh": [{rule}]}}')
    assert "no login waits" in (await shell.run("ssh", "pending"))[0]
    target = shell.service.nodes.find("gw2")
    for verb, words in (("deny", "alice may not log in to gw2"), ("approve", "alice logs in to gw2 as root")):
        await shell.service.ssh_checks.action(target, shell.service.nodes.find("gw1").id, "root", "")
        (check,) = await shell.json("ssh", "pending")
        assert (check["user"], check["source"], check["target"], check["login"]) == ("alice", "gw1", "gw2", "root")
        assert check["id"] in (await shell.run("ssh", "pending"))[0]
        out, _ = await shell.run("ssh", verb, f"https://control.example/auth/{check['id']}")
        assert words in out
    _, err = await shell.run("ssh", "approve", "0" * 20, code=1)
    assert "ssh pending" in err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("", ""),
        ("true", True),
        ("2.5", 2.5),
        ('"2"', "2"),
        ("null", "null"),
        ("[1]", "[1]"),
        ("a=b", "a=b"),
    ],
)
def test_ok__values(text: str, value: object) -> None:
    assert parse_values((f"custom:x={text}",)) == {"custom:x": value}
