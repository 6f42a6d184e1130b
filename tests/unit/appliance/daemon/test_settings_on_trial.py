"""`set --confirm-within` through the whole gateway, with restarts of its process."""

from __future__ import annotations

import pytest

from appliance.daemon.trial import HEALTH, NothingToConfirmError
from appliance.localapi.schema import PrefsPatch
from appliance.types.errors import ConfigError

pytestmark = pytest.mark.timeout(30)
"""A whole gateway, more than once."""

ROUTER = {"advertise_routes": ["192.168.10.0/24"]}


def codes(process) -> list[str]:
    return [item.code for item in process.gateway.status().health]


async def test_ok__confirmed(process) -> None:
    await process.gateway.set_prefs(PrefsPatch(hostname="new", confirm_within_s=60))
    status = process.gateway.status()
    assert 55 < status.unconfirmed_s <= 60
    assert HEALTH in codes(process)
    assert (await process.gateway.confirm()).hostname == "new"
    assert process.gateway.status().unconfirmed_s is None
    assert HEALTH not in codes(process)
    with pytest.raises(NothingToConfirmError):
        await process.gateway.confirm()


async def test_ok__goes_back_with_the_plugins_settings(process) -> None:
    await process.gateway.set_prefs(PrefsPatch(hostname="old"))
    patch = PrefsPatch(hostname="new", plugins={"subnet_router": ROUTER}, confirm_within_s=60)
    await process.gateway.set_prefs(patch)
    assert process.gateway.status().self_node.advertised_routes == ("192.168.10.0/24",)
    process.gateway._lifecycle.trial._ends_at = 0.0
    await process.keeper.tick()
    prefs = process.gateway.prefs()
    assert (prefs.hostname, prefs.plugins) == ("old", {})
    assert process.gateway.status().self_node.advertised_routes == ()
    assert "settings-reverted" in codes(process)


async def test_ok__restart_after_the_deadline(start, host) -> None:
    first = await start(host)
    await first.gateway.set_prefs(PrefsPatch(hostname="new", confirm_within_s=60))
    await first.kill()
    wall_now = type(first.core.clock).wall_now
    path = next(path for path in host.store.documents if path.endswith("trial.json"))
    assert b'"before"' in host.store.documents[path]
    trial = first.gateway._lifecycle.trial
    late = trial._stored.deadline
    try:
        type(first.core.clock).wall_now = lambda _self: late
        second = await start(host)
        await second.until(lambda: second.gateway.prefs().hostname == "")
    finally:
        type(first.core.clock).wall_now = wall_now
    assert path not in host.store.documents


async def test_ok__restart_before_the_deadline(start, host) -> None:
    first = await start(host)
    await first.gateway.set_prefs(PrefsPatch(hostname="new", confirm_within_s=60))
    await first.kill()
    second = await start(host)
    await second.until(lambda: second.gateway.status().unconfirmed_s is not None)
    assert second.gateway.prefs().hostname == "new"
    await second.gateway.confirm()
    assert second.gateway.prefs().hostname == "new"


async def test_fail__wrong_setting_is_not_on_trial(process) -> None:
    wrong = PrefsPatch(plugins={"subnet_router": {"snat": "maybe"}}, confirm_within_s=60)
    with pytest.raises(ConfigError):
        await process.gateway.set_prefs(wrong)
    with pytest.raises(ConfigError, match="no time to confirm"):
        await process.gateway.set_prefs(PrefsPatch(hostname="x", confirm_within_s=1))
    assert process.gateway.status().unconfirmed_s is None
    assert process.gateway.prefs().hostname == ""
