"""SSH logins that need a check, over real tunnels: what the client asks, who may ask it, the page."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from control.server.app import running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.control_node import ControlNode, server_key

pytestmark = [pytest.mark.timeout(60)]

POLICY = """{
  "tagOwners": {"tag:srv": []},
  "ssh": [{"action": "check", "src": ["ann@"], "dst": ["tag:srv"], "users": ["root"]}],
}"""


@pytest.fixture
async def world(tmp_path):
    """A server, a laptop of ann's, a tagged machine to log in to."""
    settings = ServerSettings(
        data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None, domain="mesh.test"
    )
    async with running(settings) as one:
        await one.service.users.create(SYSTEM, "ann")
        await one.service.policies.set(SYSTEM, POLICY)
        key = await server_key("127.0.0.1", one.port)
        nodes = [ControlNode("127.0.0.1", one.port, key, name) for name in ("laptop", "srv")]
        for node, options in zip(nodes, ({"user": "ann"}, {"tags": ["tag:srv"]}), strict=True):
            await node.connect()
            _, secret = await one.service.keys.create(SYSTEM, **options)
            assert (await node.register(secret)).machine_authorized
        yield one, *nodes
        for node in nodes:
            node.close()


def _path(action: wire.SshAction, source: int, target: int) -> str:
    """As a client fills the variables in."""
    url = urlsplit(action.hold_and_delegate)
    text = f"{url.path}?{url.query}"
    for name, value in (("SRC_NODE_ID", source), ("DST_NODE_ID", target), ("LOCAL_USER", "root")):
        text = text.replace(f"${name}", str(value))
    return text


async def test_ok__a_login_waits_for_its_approval(world):
    one, _, srv = world
    policy = one.service.view().ssh_policy(2)
    assert policy.rules[0].action is not None
    status, body = await srv.ask("GET", _path(policy.rules[0].action, 1, 2))
    held = wire.decode(wire.SshAction, body)
    assert status == 200
    check_id = held.hold_and_delegate.rpartition("=")[2]
    async with aiohttp.ClientSession() as browser:
        url = f"http://127.0.0.1:{one.port}/auth/{check_id}"
        assert url.rpartition("/")[2] in held.message
        async with browser.get(url) as page:
            assert page.status == 200
            assert f"waypost-control ssh approve {check_id}" in await page.text()
        waiting = asyncio.ensure_future(srv.ask("GET", _path(held, 1, 2)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await one.service.ssh_checks.approve(SYSTEM, check_id)
        assert wire.decode(wire.SshAction, (await waiting)[1]).accept
        async with browser.get(url) as page:
            assert page.status == 404


QUESTIONS = [
    ("GET", "/machine/ssh/action/2/to/1?local_user=root", 404),
    ("GET", "/machine/ssh/action/1/to/99?local_user=root", 404),
    ("GET", "/machine/ssh/action/x/to/2", 404),
    ("GET", "/machine/ssh/action/1/to/" + "9" * 30, 404),
    ("GET", "/machine/ssh/action/", 404),
    ("POST", "/machine/ssh/action/1/to/2", 404),
    ("GET", "/machine/ssh/action/1/to/2?" + "&".join("a=1" for _ in range(40)), 400),
]


async def test_fail__questions_that_are_none(world):
    _, _, srv = world
    for method, path, status in QUESTIONS:
        assert (await srv.ask(method, path))[0] == status, path
    assert (await srv.ask("GET", "/machine/whoami"))[0] == 200


async def test_fail__a_node_asks_about_logins_to_another(world):
    one, laptop, _ = world
    assert (await laptop.ask("GET", "/machine/ssh/action/1/to/2?local_user=root"))[0] == 404
    assert one.service.ssh_checks.list(SYSTEM) == ()
