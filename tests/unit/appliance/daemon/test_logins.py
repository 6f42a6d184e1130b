"""Logins by URL, renewal beside what runs, other servers and profiles, at the real control server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.localapi.schema import PrefsPatch, UpRequest
from appliance.netmap.errors import ControlUnreachable
from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.events import BackendState
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from control.service.errors import ServiceError
from tests.unit.appliance.daemon.conftest import Process, TwinHost

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""


def stored(host: TwinHost, name: str) -> list[dict]:
    return [json.loads(data)["data"] for path, data in sorted(host.store.documents.items()) if path.endswith(name)]


async def url_shown(process: Process, former: str = "") -> str:
    await process.until(lambda: process.gateway.status().auth_url not in ("", former))
    return process.gateway.status().auth_url


async def login_over(process: Process) -> None:
    await process.until(lambda: not process.gateway.status().login_pending)


async def ended(process: Process) -> None:
    """The run is over because the gateway wants to be started anew."""
    assert process._task is not None
    assert await asyncio.wait_for(asyncio.shield(process._task), 5)
    await process.stop()


async def approve(server: RunningServer, url: str, user: str = "ann") -> None:
    await server.service.logins.approve(SYSTEM, url, user)


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """Another control server."""
    listen = AddrPort("127.0.0.1", 0)
    settings = ServerSettings(data_dir=tmp_path / "other", listen=listen, derp_host=None, stun_port=0)
    async with running(settings) as made:
        await made.service.users.create(SYSTEM, "bob")
        yield made


async def test_ok__first_login_by_url(process, url, server):
    await process.gateway.up(UpRequest(control_url=url))
    page = await url_shown(process)
    status = process.gateway.status()
    assert (status.state, status.login_pending) == (BackendState.NEEDS_LOGIN, True)
    assert "open the login page" in status.waiting_for
    assert not stored(process.host, "keys.json"), "a trial key is not stored"
    await approve(server, page)
    await process.until(lambda: process.state is BackendState.RUNNING)
    status = process.gateway.status()
    assert (status.auth_url, status.login_pending, status.login_error) == ("", False, None)
    assert stored(process.host, "keys.json")[0]["control_url"] == url
    assert process.gateway.profiles()[0].login_name == "ann"


async def test_fail__denied_by_url(process, url, server):
    await process.gateway.up(UpRequest(control_url=url))
    await server.service.logins.deny(SYSTEM, await url_shown(process))
    await login_over(process)
    status = process.gateway.status()
    assert (status.state, status.login_error.code) == (BackendState.NEEDS_LOGIN, "login-refused")
    assert "denied" in status.login_error.text
    assert not stored(process.host, "keys.json")


async def test_ok__renewal_keeps_what_runs(process, url, key, server):
    await process.up(url, key)
    before = process.gateway.status().self_node
    await process.gateway.up(UpRequest(force_login=True))
    page = await url_shown(process)
    status = process.gateway.status()
    assert (status.state, status.login_pending, status.control.connected) == (BackendState.RUNNING, True, True)
    assert status.self_node.node_key == before.node_key
    with pytest.raises(ServiceError):
        await approve(server, page, "nobody")
    await approve(server, page)
    await process.until(lambda: process.gateway.status().self_node.node_key != before.node_key)
    await process.until(lambda: process.gateway.status().control.connected)
    after = process.gateway.status().self_node
    assert (after.stable_id, after.addresses) == (before.stable_id, before.addresses)
    assert len(server.service.nodes.list(SYSTEM)) == 1
    assert process.engine.private_key is not None
    (kept,) = stored(process.host, "keys.json")
    assert kept["old_node_key"] == before.node_key


async def test_ok__a_renewal_is_pending_until_the_new_session_runs(process, url, key):
    await process.up(url, key)
    gateway, seen = process.gateway, []
    stop = gateway._stop_client

    async def watched():
        await stop()
        seen.append(gateway.status())

    gateway._stop_client = watched
    await gateway.up(UpRequest(force_login=True, auth_key=key))
    await login_over(process)
    (between,) = seen
    assert (between.login_pending, between.state) == (True, BackendState.STARTING)


async def test_ok__a_renewal_that_is_denied_changes_nothing(process, url, key, server):
    await process.up(url, key)
    before = stored(process.host, "keys.json")
    await process.gateway.up(UpRequest(force_login=True, prefs=PrefsPatch(hostname="other")))
    await server.service.logins.deny(SYSTEM, await url_shown(process))
    await login_over(process)
    status = process.gateway.status()
    assert (status.state, status.control.connected) == (BackendState.RUNNING, True)
    assert status.login_error.code == "login-refused"
    assert stored(process.host, "keys.json") == before
    assert process.gateway.prefs().hostname == ""


async def test_ok__forced_login_by_url(process, url, key, server):
    await process.up(url, key)
    before = process.gateway.status().self_node
    await server.service.nodes.expire(SYSTEM, "1")
    await process.until(lambda: process.state is BackendState.NEEDS_LOGIN)
    assert "waypost login" in process.gateway.status().login_error.mend
    await process.keeper.tick()
    assert "key-expiry" in {item.code for item in process.gateway.status().health}
    await process.gateway.up(UpRequest())
    await approve(server, await url_shown(process))
    await process.until(lambda: process.state is BackendState.RUNNING)
    await process.keeper.tick()
    after = process.gateway.status()
    assert after.self_node.addresses == before.addresses
    assert "key-expiry" not in {item.code for item in after.health}


async def test_ok__logout_and_login_by_url(process, url, key, server):
    await process.up(url, key)
    before = process.gateway.status().self_node
    await process.gateway.logout()
    await process.gateway.up(UpRequest())
    await approve(server, await url_shown(process))
    await process.until(lambda: process.state is BackendState.RUNNING)
    assert process.gateway.status().self_node.addresses == before.addresses


async def test_ok__down_ends_a_login_that_waits(process, url):
    await process.gateway.up(UpRequest(control_url=url))
    await url_shown(process)
    await process.gateway.down()
    status = process.gateway.status()
    assert (status.auth_url, status.login_pending) == ("", False)


async def test_ok__another_server_is_tried_before_the_old_is_left(process, url, key, server, other):
    await process.up(url, key)
    before = stored(process.host, "keys.json")
    elsewhere = f"http://127.0.0.1:{other.port}"
    await process.gateway.up(UpRequest(control_url=elsewhere))
    page = await url_shown(process)
    assert process.gateway.status().control.url == url
    assert process.state is BackendState.RUNNING
    assert stored(process.host, "keys.json") == before
    await approve(other, page, "bob")
    await process.until(lambda: process.gateway.status().self_node.user == "bob")
    assert process.gateway.status().control.url == elsewhere
    assert stored(process.host, "keys.json")[0]["control_url"] == elsewhere


async def test_ok__another_server_that_denies_is_forgotten(process, url, key, other):
    await process.up(url, key)
    before = stored(process.host, "keys.json"), stored(process.host, "prefs.json")
    await process.gateway.up(UpRequest(control_url=f"http://127.0.0.1:{other.port}"))
    await other.service.logins.deny(SYSTEM, await url_shown(process))
    await login_over(process)
    status = process.gateway.status()
    assert (status.state, status.control.url, status.control.connected) == (BackendState.RUNNING, url, True)
    assert "denied" in status.login_error.text
    assert (stored(process.host, "keys.json"), stored(process.host, "prefs.json")) == before


async def test_ok__another_server_that_accepts_and_then_does_not_answer(process, url, key, other):
    await process.up(url, key)
    before = stored(process.host, "keys.json"), stored(process.host, "prefs.json")
    make = process.gateway._clients.make

    async def silent():
        raise ControlUnreachable("it does not answer")

    def watched(*arguments, **names):
        client = make(*arguments, **names)
        client.verify = silent
        return client

    process.gateway._clients.make = watched
    _, other_key = await other.service.keys.create(SYSTEM, user="bob")
    await process.gateway.up(UpRequest(control_url=f"http://127.0.0.1:{other.port}", auth_key=other_key))
    await login_over(process)
    assert len(other.service.nodes.list(SYSTEM)) == 1, "it did accept"
    status = process.gateway.status()
    assert (status.state, status.control.url, status.control.connected) == (BackendState.RUNNING, url, True)
    assert status.login_error.code == "control-unreachable"
    assert (stored(process.host, "keys.json"), stored(process.host, "prefs.json")) == before


async def test_ok__profiles(start, host, url, key, other):
    first = await start(host)
    await first.up(url, key)
    address = first.gateway.status().self_node.addresses
    elsewhere = f"http://127.0.0.1:{other.port}"
    await first.gateway.up(UpRequest(control_url=elsewhere, profile="work"))
    page = await url_shown(first)
    assert [each.name for each in first.gateway.profiles()] == ["default"], "made once control has accepted it"
    await approve(other, page, "bob")
    await ended(first)
    second = await start(host)
    await second.until(lambda: second.state is BackendState.RUNNING)
    views = {each.name: each for each in second.gateway.profiles()}
    assert (views["work"].current, views["work"].control_url, views["work"].login_name) == (True, elsewhere, "bob")
    assert (views["default"].current, views["default"].logged_in) == (False, True)
    with pytest.raises(ConfigError, match="is the current"):
        await second.gateway.delete_profile("work")
    await second.gateway.switch_profile("default")
    await ended(second)
    third = await start(host)
    await third.until(lambda: third.state is BackendState.RUNNING)
    assert third.gateway.status().self_node.addresses == address
    await third.gateway.delete_profile("work")
    assert [each.name for each in third.gateway.profiles()] == ["default"]
    assert len(stored(host, "keys.json")) == 1
    (node,) = other.service.nodes.list(SYSTEM)
    assert node.is_expired(other.service.wall_now()), "its server was told"


async def test_ok__up_in_another_profile_that_is_logged_in(start, host, url, key, other):
    first = await start(host)
    await first.up(url, key)
    _, second_key = await other.service.keys.create(SYSTEM, user="bob")
    elsewhere = f"http://127.0.0.1:{other.port}"
    await first.gateway.up(UpRequest(control_url=elsewhere, profile="work", auth_key=second_key))
    await ended(first)
    second = await start(host)
    await second.until(lambda: second.state is BackendState.RUNNING)
    assert not (await second.gateway.up(UpRequest(profile="default"))).login
    await ended(second)
    third = await start(host)
    await third.until(lambda: third.state is BackendState.RUNNING)
    assert third.gateway.status().control.url == url


async def test_fail__profiles(process, url, key):
    await process.up(url, key)
    for name in ("none", "../x"):
        with pytest.raises(ConfigError, match="no profile"):
            await process.gateway.switch_profile(name)
    with pytest.raises(ConfigError, match="no name"):
        await process.gateway.up(UpRequest(profile="a b"))
    await process.gateway.up(UpRequest(control_url="http://127.0.0.1:9", profile="work", auth_key="x"))
    await login_over(process)
    assert process.gateway.status().login_error.code == "control-unreachable"
    assert process.state is BackendState.RUNNING
    assert [each.name for each in process.gateway.profiles()] == ["default"]


async def test_fail__ca_file(process, url, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem", "relative.pem"):
        with pytest.raises(ConfigError, match="CA file"):
            await process.gateway.up(UpRequest(control_url=url, prefs=PrefsPatch(ca_file=str(path))))
