"""The commands against a real admin socket with a real service behind it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.proto.control.messages import Hostinfo, RegisterRequest
from appliance.types.errors import StateError
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.cli.main import run
from control.server.admin import AdminServer, admin_socket
from control.service.actor import Permission
from control.service.errors import DeniedError
from tests.unit.control.cli.conftest import Shell


async def test_ok__users(shell):
    created = await shell.json("users", "create", "alice", "--email", "alice@example.org", "--role", "admin")
    assert (created["name"], created["role"]) == ("alice", "admin")
    await shell.run("users", "rename", "alice", "ann")
    assert [user["name"] for user in await shell.json("users", "list")] == ["ann"]
    table, _ = await shell.run("users", "list")
    assert "alice@example.org" in table
    await shell.run("users", "delete", "ann")
    out, _ = await shell.run("users", "list")
    assert "users create" in out


async def test_ok__devices_that_wait(shell):
    await shell.run("users", "create", "alice")
    urls = []
    for number in (1, 2):
        request = RegisterRequest(
            version=130, node_key=str(NodePublicKey(bytes([number]) * 32)), hostinfo=Hostinfo(hostname=f"gw{number}")
        )
        urls.append((await shell.service.register(MachinePublicKey(bytes([number]) * 32), request, "")).auth_url)
    assert [each["hostname"] for each in await shell.json("nodes", "pending")] == ["gw1", "gw2"]
    assert (await shell.json("nodes", "register", urls[0], "--user", "alice"))["name"] == "gw1"
    out, _ = await shell.run("nodes", "deny", urls[1].rpartition("/")[2])
    assert "gw2 may not join" in out
    out, _ = await shell.run("nodes", "pending")
    assert "no device waits" in out
    _, err = await shell.run("nodes", "register", urls[1], "--user", "alice", code=1)
    assert "denied already" in err


async def test_ok__keys_are_shown_once(shell):
    await shell.run("users", "create", "alice")
    text, _ = await shell.run("preauthkeys", "create", "--user", "alice", "--reusable", "--expiration", "1d12h")
    text = text.strip()
    assert text.startswith("wpkey-auth-")
    made = await shell.json("preauthkeys", "create", "--tags", "tag:a,tag:b", "--ephemeral", "--expiration", "never")
    assert (made["tags"], made["ephemeral"], made["expiry"]) == (["tag:a", "tag:b"], True, None)
    listed = await shell.json("preauthkeys", "list")
    assert text.rpartition("-")[2] not in json.dumps(listed)
    assert listed[0]["expiry"] == "2026-01-02T12:00:00Z"
    await shell.run("preauthkeys", "revoke", text)
    table, _ = await shell.run("preauthkeys", "list")
    assert "revoked" in table


async def test_ok__nodes_and_routes(shell):
    await shell.run("users", "create", "alice")
    key = (await shell.json("preauthkeys", "create", "--user", "alice", "--reusable"))["key"]
    await shell.join(1, key, routable_ips=["10.0.0.0/24", "10.0.1.0/24"])
    await shell.join(2, key)
    assert [node["name"] for node in await shell.json("nodes", "list")] == ["gw1", "gw2"]
    assert (await shell.json("nodes", "show", "100.64.0.2"))["fqdn"] == "gw2.net.example."
    approved = await shell.json("routes", "approve", "gw1")
    assert {route["route"] for route in approved if route["approved"]} == {"10.0.0.0/24", "10.0.1.0/24"}
    await shell.run("routes", "revoke", "gw1", "10.0.1.0/24")
    listed = await shell.json("routes", "list", "--node", "gw1")
    assert [route["approved"] for route in listed] == [True, False]
    assert "10.0.1.0/24" in (await shell.run("routes", "list"))[0]
    assert (await shell.json("nodes", "tag", "gw1", "tag:gw"))["tags"] == ["tag:gw"]
    assert (await shell.json("nodes", "rename", "gw2", "edge"))["name"] == "edge"
    assert (await shell.json("nodes", "expire", "edge"))["expired"]
    assert "expired" in (await shell.run("nodes", "list"))[0]
    assert "key expiry" in (await shell.run("nodes", "show", "edge"))[0]
    await shell.run("nodes", "delete", "edge")
    assert len(await shell.json("nodes", "list")) == 1


async def test_ok__policy(shell, tmp_path):
    file = tmp_path / "policy.hujson"
    file.write_text('{"acls": [], "groups": {"group:a": ["zoe@"]}}\n')
    assert "no policy" in (await shell.run("policy", "get"))[0]
    out, err = await shell.run("policy", "set", str(file))
    assert "version 1" in out
    assert 'warning: line 1, column 37: no such user: "zoe"' in err
    assert (await shell.run("policy", "get"))[0] == file.read_text()
    _, err = await shell.run("policy", "set", str(file), "--base-version", "0", code=1)
    assert "version 1 now" in err
    file.write_text('{\n"grant": []}')
    _, err = await shell.run("policy", "set", str(file), code=1)
    assert f'{file}: line 2, column 1: unknown field: "grant"' in err


async def test_ok__policy_history_revert_and_own_tests(shell, tmp_path):
    file = tmp_path / "policy.hujson"
    for text in ('{"acls": []}', '{"grants": []}  // two'):
        file.write_text(text)
        await shell.run("policy", "set", str(file))
    assert [one["version"] for one in await shell.json("policy", "history")] == [2, 1]
    assert "version 3 is in force" in (await shell.run("policy", "revert", "1"))[0]
    assert (await shell.run("policy", "get"))[0].strip() == '{"acls": []}'
    assert "no version 9" in (await shell.run("policy", "revert", "9", code=1))[1]
    file.write_text('{"acls": [],\n"tests": [{"src": "zoe@", "deny": ["100.64.0.9:22"]}]}')
    _, err = await shell.run("policy", "set", str(file), code=1)
    assert "line 2, column 11: test(s) failed (no node is zoe@" in err
    assert (await shell.json("policy", "get"))["version"] == 3
    assert (await shell.json("policy", "mesh")) == {"users": [], "nodes": []}
    out, _ = await shell.run("policy", "compile", str(tmp_path / "policy.hujson"), "--json")
    assert json.loads(out) == {"nodes": []}


def test_ok__policy_check_needs_no_server(tmp_path, capsys):
    file = tmp_path / "p.hujson"
    file.write_text("{}")
    assert run(["policy", "check", str(file)]) == 0
    assert "is good" in capsys.readouterr().out
    file.write_text('{"acls": [{"action": "accept", "src": ["tag:x"], "dst": ["*:*"]}]}')
    assert run(["policy", "check", str(file)]) == 1
    assert 'line 1, column 40: src=tag not found: "tag:x"' in capsys.readouterr().err
    assert run(["policy", "check", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["column"] == 40
    assert run(["policy", "check", str(tmp_path / "none")]) == 1
    assert "cannot read" in capsys.readouterr().err


async def test_fail__one_line_with_the_mend(shell):
    for arguments, says in (
        (("nodes", "show", "nobody"), "nodes list"),
        (("preauthkeys", "create"), "--user"),
        (("users", "delete", "zoe"), "users create zoe"),
        (("users", "create", "A B"), "lower-case"),
        (("nodes", "show", "a/../../users"), "no such node"),
    ):
        _, err = await shell.run(*arguments, code=1)
        assert says in err
        assert err.count("\n") == 1
    assert "not a duration" in (await shell.run("preauthkeys", "create", "--expiration", "soon", code=2))[1]


def test_fail__no_server(tmp_path, capsys):
    assert run(["users", "list", "--socket", str(tmp_path / "none.sock")]) == 3
    err = capsys.readouterr().err
    assert "waypost-control serve" in err
    assert err.count("\n") == 1


async def test_ok__the_socket_is_private_and_a_stale_one_is_replaced(shell, tmp_path):
    assert os.stat(shell.socket).st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="another control server"):
        await AdminServer(shell.service, tmp_path / "run" / "admin.sock").start()
    stale = tmp_path / "stale.sock"
    import socket

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    async with admin_socket(stale)(shell.service):
        assert stale.exists()


async def test_fail__pages_and_strangers_are_not_served(shell, monkeypatch):
    async def ask(head: str) -> str:
        reader, writer = await asyncio.open_unix_connection(shell.socket)
        writer.write(f"GET /v1/users HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return answer

    assert "200 OK" in await ask("Host: waypost-control\r\n")
    assert "403" in await ask("Host: localhost\r\n")
    assert "403" in await ask("Host: waypost-control\r\nOrigin: http://x\r\n")
    monkeypatch.setattr("control.server.admin_http._UCRED", _Stranger())
    assert "root and the server's own user only" in await ask("Host: waypost-control\r\n")


class _Stranger:
    """The kernel's answer for another user."""

    size = 12

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        return (1, 12345, 12345)


def test_ok__help_and_completion(capsys):
    assert run(["--help"]) == 0
    assert "completion bash" in capsys.readouterr().out
    assert run(["completion", "bash"]) == 0
    assert "_WAYPOST_CONTROL_COMPLETE" in capsys.readouterr().out
    assert run(["nonsense"]) == 2
    for name in ("serve", "users", "preauthkeys", "nodes", "routes", "policy"):
        assert run([name, "--help"]) == 0


async def test_ok__counters_by_part(shell: Shell) -> None:
    shell.service.counters.add("noise", lambda: {"tunnel_opened": 7})
    assert await shell.json("counters") == {"noise": {"tunnel_opened": 7}}
    out, _ = await shell.run("counters")
    assert "tunnel_opened" in out


async def test_ok__page_prints_a_code_that_opens_it(shell):
    made = await shell.json("page")
    assert made["url"].endswith("/status")
    assert shell.service.page.is_valid(shell.service.page.redeem(made["code"], "192.0.2.1"))
    printed, _ = await shell.run("page")
    assert "/status#code=" in printed
    assert "works once, within 10 minutes" in printed


async def test_ok__audit(shell):
    await shell.run("users", "create", "alice")
    await shell.run("users", "rename", "alice", "ann")
    entry, *_ = await shell.json("audit", "--action", "user.", "--target", "user:")
    assert (entry["action"], entry["target"], entry["before"], entry["after"]) == (
        "user.rename", "user:alice", {"name": "alice"}, {"name": "ann"},
    )  # fmt: skip
    assert entry["actor"].startswith("local:")
    assert await shell.json("audit", "--who", "nobody") == []
    assert len(await shell.json("audit", "--limit", "1")) == 1
    table, _ = await shell.run("audit")
    assert "name=ann" in table


async def test_ok__backup_and_restore(shell, tmp_path):
    await shell.run("users", "create", "alice")
    file = str(tmp_path / "backup")
    for arguments in (
        ("backup", file, "--data-dir", str(tmp_path)),
        ("restore", file, "--data-dir", str(tmp_path / "n")),
    ):
        assert await asyncio.to_thread(run, list(arguments)) == 0
    assert "1 users" in shell.capsys.readouterr().out
    assert await asyncio.to_thread(run, ["restore", file, "--data-dir", str(tmp_path / "n")]) == 1


async def test_ok__import_headscale(shell, tmp_path):
    file, folder = tmp_path / "db.sqlite", tmp_path / "imported"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((Path(__file__).parents[3] / "samples" / "headscale.sql").read_text())
    key = tmp_path / "noise_private.key"
    key.write_text("privkey:" + "42" * 32)
    arguments = ["import", "headscale", str(file), "--noise-key", str(key), "--data-dir", str(folder)]
    assert await asyncio.to_thread(run, arguments) == 0
    printed = shell.capsys.readouterr().out
    assert "3 nodes" in printed
    assert "not taken: pre-auth key 2" in printed
    assert (folder / "noise.key").read_text().strip() == "privkey:" + "42" * 32
    assert await asyncio.to_thread(run, arguments) == 1


async def test_ok__api_keys(shell):
    text, _ = await shell.run(
        "apikeys", "create", "--scopes", "read,nodes", "--expiration", "30d", "--description", "ci"
    )
    text = text.strip()
    actor = await shell.service.api_keys.actor_of(text)
    assert actor.scopes == {Permission.READ, Permission.NODES}
    (listed,) = await shell.json("apikeys", "list")
    assert (listed["scopes"], listed["state"], listed["description"]) == (["nodes", "read"], "valid", "ci")
    assert text.rpartition("-")[2] not in json.dumps(listed)
    table, _ = await shell.run("apikeys", "list")
    assert "nodes,read" in table
    await shell.run("apikeys", "revoke", text)
    with pytest.raises(DeniedError, match="revoked"):
        await shell.service.api_keys.actor_of(text)
    _, err = await shell.run("apikeys", "create", "--scopes", "everything", code=1)
    assert "no scope" in err
