"""Smaller requests inside the tunnel, on a whole server over real connections."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from control.mapper.settings import MapSettings, Notice
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.control_node import ControlNode, server_key

pytestmark = [pytest.mark.timeout(60)]

CHALLENGE = "x" * 43


@asynccontextmanager
async def server(folder: Path, **more: Any) -> AsyncIterator[RunningServer]:
    settings = ServerSettings(
        data_dir=folder, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None, domain="mesh.test", **more
    )
    async with running(settings) as one:
        yield one


async def joined(one: RunningServer, name: str) -> ControlNode:
    if not one.service.view().users:
        await one.service.users.create(SYSTEM, "demo")
    _, secret = await one.service.keys.create(SYSTEM, user="demo")
    node = ControlNode("127.0.0.1", one.port, await server_key("127.0.0.1", one.port), name)
    await node.connect()
    assert (await node.register(secret)).machine_authorized
    return node


async def call(node: ControlNode, path: str, **fields: Any) -> tuple[int, str]:
    message = wire.NodeCall(version=130, node_key=node.node_key, **fields)
    status, body = await node.ask("POST", f"/machine/{path}", message)
    return status, body.decode()


async def test_ok__what_is_off_says_so(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        node = await joined(one, "a")
        status, text = await call(node, "set-dns", name="_acme-challenge.a.mesh.test", type="TXT", value=CHALLENGE)
        assert (status, "set_dns_command" in text) == (400, True)
        status, text = await call(node, "id-token", audience="x")
        assert (status, "[id_tokens]" in text) == (400, True)
        for feature, complete in (("https", False), ("serve", True), ("funnel", False)):
            status, text = await call(node, "feature/query", feature=feature)
            assert (status, json.loads(text)["Complete"]) == (200, complete)
        assert (await call(node, "feature/query", feature="warp"))[0] == 400
        node.close()


async def test_ok__challenges_of_its_own_name_reach_the_program(tmp_path: Path) -> None:
    program = tmp_path / "publish"
    program.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/published\n')
    program.chmod(0o700)
    settings = MapSettings(certificates=True)
    async with server(tmp_path, set_dns_command=(str(program),), map_settings=settings) as one:
        node = await joined(one, "a")
        first = await node.map_once()
        assert first.dns_config is not None
        assert first.dns_config.cert_domains == ["a.mesh.test"]
        assert first.node is not None
        assert "https" in first.node.cap_map
        name = "_acme-challenge.a.mesh.test"
        assert await call(node, "set-dns", name=name, type="TXT", value=CHALLENGE) == (200, "{}")
        assert (tmp_path / "published").read_text() == f"{name} {CHALLENGE}\n"
        other = name.replace("a.", "b.")
        for fields, status in (
            ({"name": other, "type": "TXT", "value": CHALLENGE}, 403),
            ({"name": "mesh.test", "type": "TXT", "value": CHALLENGE}, 403),
            ({"name": name, "type": "A", "value": "192.0.2.1"}, 400),
            ({"name": name, "type": "TXT", "value": "--help; rm"}, 400),
        ):
            assert (await call(node, "set-dns", **fields))[0] == status
        program.write_text("#!/bin/sh\necho broken >&2; exit 3\n")
        status, text = await call(node, "set-dns", name=name, type="TXT", value=CHALLENGE)
        assert (status, "broken" in text) == (400, True)
        program.unlink()
        assert (await call(node, "set-dns", name=name, type="TXT", value=CHALLENGE))[0] == 400
        assert (tmp_path / "published").read_text().count("\n") == 1
        node.close()


async def test_ok__tokens_say_who_the_node_is(tmp_path: Path) -> None:
    async with server(tmp_path, token_audiences=("vault",), url="https://control.example") as one:
        node = await joined(one, "a")
        status, text = await call(node, "id-token", audience="vault")
        assert status == 200
        header, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in json.loads(text)["id_token"].split("."))
        claims = json.loads(payload)
        assert claims["sub"] == "a.mesh.test"
        assert claims["aud"] == "vault"
        assert claims["key"] == node.node_key
        assert claims["user"] == "mesh.test:demo"
        assert 0 < claims["exp"] - claims["iat"] <= 600
        async with aiohttp.ClientSession(f"http://127.0.0.1:{one.port}") as session:
            async with session.get("/.well-known/openid-configuration") as answer:
                found = await answer.json()
            assert found["issuer"] == claims["iss"] == "https://control.example"
            async with session.get("/.well-known/jwks.json") as answer:
                (key,) = (await answer.json())["keys"]
        assert key["kid"] == json.loads(header)["kid"]
        assert (await call(node, "id-token", audience="bank"))[0] == 403
        assert (await call(node, "id-token"))[0] == 400
        await one.service.nodes.expire(SYSTEM, "a")
        assert (await call(node, "id-token", audience="vault"))[0] == 403
        node.close()
    mode = os.stat(tmp_path / "id-token.key").st_mode & 0o777  # a plain look at the mode
    assert mode == 0o600


async def test_ok__reports_are_counted_and_audited(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        node = await joined(one, "a")
        assert await call(node, "update-health", subsys="dns", error="no\nresolver") == (200, "{}")
        assert await call(node, "audit-log", action="DISCONNECT_NODE", details="lunch") == (200, "{}")
        assert (await call(node, "audit-log", action="OWN_EVERYTHING"))[0] == 400
        assert one.service.counters.snapshot()["reports"] == {"audit_reports": 1, "health_reports": 1}
        node.close()


@pytest.mark.parametrize("path", ["set-dns", "id-token", "update-health", "audit-log", "feature/query"])
async def test_fail__not_for_another_node(tmp_path: Path, path: str) -> None:
    async with server(tmp_path, token_audiences=("*",)) as one:
        owner, thief = await joined(one, "a"), await joined(one, "b")
        message = wire.NodeCall(version=130, node_key=owner.node_key, audience="x", feature="serve")
        assert (await thief.ask("POST", f"/machine/{path}", message))[0] == 404
        owner.close()
        thief.close()


async def test_ok__notices_reach_nodes_and_follow_their_routes(tmp_path: Path) -> None:
    settings = MapSettings(notices=(Notice("work", "Maintenance", "Tonight."),))
    async with server(tmp_path, map_settings=settings) as one:
        node = await joined(one, "a")
        node.routes = ["192.168.7.0/24"]
        await node.update()
        assert set((await node.map_once()).display_messages) == {"work", "routes-wait-for-approval"}
        await one.service.routes.approve(SYSTEM, "a", ["192.168.7.0/24"])
        assert set((await node.map_once()).display_messages) == {"work"}
        node.close()


async def test_ok__a_node_sets_attributes_that_the_policy_leaves_to_it(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        node = await joined(one, "a")
        policy = '{"attrConfig": {"custom:level": {"type": "number", "allowSetByNode": true}}}'
        await one.service.policies.set(SYSTEM, policy)
        for update, status in (({"custom:level": 3}, 200), ({"custom:tier": "x"}, 403), ({"custom:level": "x"}, 400)):
            message = wire.NodeCall(version=130, node_key=node.node_key, update=update)
            assert (await node.ask("PATCH", "/machine/set-device-attr", message))[0] == status
        (record,) = one.service.view().nodes.values()
        assert record.attributes["custom:level"] == 3
        assert "custom:tier" not in record.attributes
        node.close()
