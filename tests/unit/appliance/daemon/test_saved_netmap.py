"""A restarted gateway works on the saved netmap until its control server answers, which is the real one."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from appliance.crypto.x25519 import public_key
from appliance.daemon.saved_netmap import HEALTH, SavedNetmap, netmap_document
from appliance.health.tracker import HealthTracker
from appliance.localapi.schema import UpRequest
from appliance.netmap.saved import StoredNetmap, pack
from appliance.netmap.store import NetmapStore
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.ports.store import MemoryStore
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState
from appliance.types.keys import DiscoPrivateKey, NodePublicKey
from control.server.app import running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.unit.appliance.netmap.conftest import node

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def away(tmp_path, start, host):
    """A gateway that ran and was stopped, and the settings of the control server that is away now."""
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, stun_port=0)
    async with running(settings) as server:
        await server.service.users.create(SYSTEM, "ann")
        _, key = await server.service.keys.create(SYSTEM, user="ann", reusable=True)
        url = f"http://127.0.0.1:{server.port}"
        process = await start(host)
        await process.up(url, key)
        before = process.gateway.status().self_node
        await process.until(lambda: saved(host))
        await process.kill()
        port = server.port
    host.known = (
        before,
        ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", port), derp_host=None, stun_port=0),
    )
    return host


def saved(host) -> dict:
    return next((json.loads(data) for path, data in host.store.documents.items() if path.endswith("netmap.json")), {})


async def test_ok__restart_without_control(away, start) -> None:
    before, _ = away.known
    process = await start(away)
    await process.until(lambda: process.state is BackendState.RUNNING)
    status = process.gateway.status()
    assert status.self_node.addresses == before.addresses
    assert not status.control.connected
    assert status.control.saved_netmap is not None
    assert "on the saved netmap of 20" in status.waiting_for
    assert "control unreachable since 20" in status.waiting_for
    assert ("inet", "waypost") in away.firewall.tables
    assert str(away.netlink.address_list[0].address).startswith("100.")
    assert process.engine.private_key is not None


async def test_ok__first_full_map_replaces_it(away, start) -> None:
    _, settings = away.known
    process = await start(away)
    await process.until(lambda: process.state is BackendState.RUNNING)
    async with running(settings):
        await process.until(lambda: process.gateway.status().control.connected)
        status = process.gateway.status()
        assert status.control.saved_netmap is None
        assert status.waiting_for == ""
        assert HEALTH not in [item.code for item in status.health]


async def test_ok__peers_know_the_disco_key(away, start) -> None:
    first = await start(away)
    key = first.core.magicsock.disco_public_key
    await first.kill()
    second = await start(away)
    assert second.core.magicsock.disco_public_key == key


async def test_ok__health_says_it_once_control_is_away_for_a_while(away, start) -> None:
    process = await start(away)
    await process.until(lambda: process.state is BackendState.RUNNING)
    assert [item.code for item in process.core.health.items() if item.code == HEALTH] == []
    process.core.health._waiting[HEALTH] = (0.0, process.core.health._waiting[HEALTH][1])
    process.core.health.poll()
    (item,) = [item for item in process.core.health.items() if item.code == HEALTH]
    assert "running on the saved netmap" in item.text
    assert item.mend


async def test_ok__down_and_up_without_control(away, start) -> None:
    process = await start(away)
    await process.until(lambda: process.state is BackendState.RUNNING)
    await process.gateway.down()
    assert process.state is BackendState.STOPPED
    assert process.gateway.status().control.saved_netmap is None
    await process.gateway.up(UpRequest())
    await process.until(lambda: process.state is BackendState.RUNNING)


async def test_fail__map_of_another_login_is_not_used(away, start) -> None:
    process = await start(away)
    keeper = process.gateway._lifecycle.saved
    keys = process.core.profile.keys.load()
    assert keys is not None
    own = public_key(keys.node_key)
    assert keeper.restore(own, keys.control_url) is not None
    assert keeper.restore(own, "http://elsewhere.example") is None
    assert keeper.restore(NodePublicKey(b"x" * 32), keys.control_url) is None


async def test_fail__expired_login_is_not_resumed() -> None:
    clock, store = VirtualClock(), MemoryStore()
    full = wire.MapResponse(node=node(1, key_expiry=wire.format_time(clock.wall_now() + timedelta(days=1))))
    known = NetmapStore()
    known.apply(full, clock.wall_now())
    own, url, disco = known.self_node.key, "http://c", DiscoPrivateKey(b"d" * 32)
    packed = pack(wire.encode(known.snapshot()))
    document = netmap_document(store, "profiles/x")
    document.save(
        StoredNetmap(control_url=url, node_key=own, disco_key=disco, saved_at=clock.wall_now(), netmap=packed)
    )
    keeper = SavedNetmap(document, disco, clock, HealthTracker(EventBus(), clock))
    assert keeper.restore(own, url) is not None
    clock.advance(2 * 86400)
    assert keeper.restore(own, url) is None


@pytest.mark.parametrize("data", [b"", b"{", b'{"format":9,"readable_by":9,"sum":"","data":{}}'])
async def test_fail__damaged_or_newer_is_left_alone(away, start, data) -> None:
    path = next(path for path in away.store.documents if path.endswith("netmap.json"))
    away.store.documents[path] = data
    process = await start(away)
    await process.until(lambda: process.gateway.status().waiting_for.startswith("connecting to"))
    assert process.state is BackendState.STARTING


async def test_ok__logout_forgets_it(process, url, key) -> None:
    await process.up(url, key)
    await process.until(lambda: saved(process.host))
    await process.gateway.logout()
    assert not saved(process.host)
    await process.keeper.finish()
    assert not saved(process.host)


async def test_ok__orderly_end_writes_the_last_state(process, url, key) -> None:
    await process.up(url, key)
    await process.until(lambda: saved(process.host))
    first = saved(process.host)["data"]["saved_at"]
    writes = len([path for path in process.host.store.writes if path.endswith("netmap.json")])
    assert writes == 1
    await process.keeper.finish()
    assert saved(process.host)["data"]["saved_at"] >= first
