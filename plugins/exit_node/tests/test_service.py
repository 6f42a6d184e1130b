from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from appliance.api import AttachedPrefix, DerpState, HostFacts, NetmapChange, NodeInfo, PeerState, RefreshKind
from appliance.api.testing import FakeHost
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.hooks import ExitNode
from plugins.exit_node.rules import DEFAULTS
from plugins.exit_node.service import HOLD_S, INTERVAL_S, STORE_KEY

PARIS = NodeInfo("n1", "paris", ("100.64.0.1",), DEFAULTS, online=True)
OSLO = NodeInfo("n2", "oslo", ("100.64.0.2",), DEFAULTS, online=True)
SELF = NodeInfo("n0", "here")


class Run:
    """The plugin with its service on a virtual clock."""

    def __init__(self, config: ExitNodeConfig, host: FakeHost) -> None:
        self.host, self.plugin = host, ExitNode()
        self.host.gateway = replace(
            host.gateway,
            peers=(PeerState("n1", "paris", home_region="par"), PeerState("n2", "oslo", home_region="osl")),
            derp=DerpState(latency_s={"par": 0.03, "osl": 0.02}),
        )
        self.plugin.appliance_configure(config)
        service, _ = self.plugin.appliance_start(host)
        self.task = asyncio.ensure_future(service.run())

    @property
    def chosen(self) -> str:
        return self.plugin.appliance_contribute_hostinfo().exit_node

    def see(self, *peers: NodeInfo) -> None:
        self.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=SELF, changed=peers))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_ok__automatic_choice_moves_when_its_exit_is_lost(fake_host: FakeHost) -> None:
    run = Run(ExitNodeConfig(use="auto"), fake_host)
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "n2"
    assert fake_host.store[STORE_KEY] == b"n2"
    assert RefreshKind.ROUTER in {kind for kind, _ in fake_host.refreshes}
    run.see(PARIS, replace(OSLO, online=False))
    await fake_host.time.pass_time(HOLD_S / 2)
    assert run.chosen == "n2", "a short loss is waited for"
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(2 * HOLD_S)
    assert run.chosen == "n2"
    run.see(PARIS)
    await fake_host.time.pass_time(HOLD_S + 2 * INTERVAL_S)
    assert run.chosen == "n1"
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(10 * HOLD_S)
    assert run.chosen == "n1", "it does not go back by itself"
    await run.stop()


async def test_ok__another_region_is_gone_to_at_once(fake_host: FakeHost) -> None:
    run = Run(ExitNodeConfig(use="auto"), fake_host)
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "n2"
    run.plugin.appliance_configure(ExitNodeConfig(use="auto", regions=("par",)))
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "n1"
    run.plugin.appliance_configure(ExitNodeConfig(use="auto", regions=("mad",)))
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "", "rather none than one elsewhere"
    run.plugin.appliance_configure(ExitNodeConfig(use="auto"))
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "n2"
    await run.stop()


async def test_ok__an_exit_without_its_uplink_is_withdrawn(fake_host: FakeHost) -> None:
    link = AttachedPrefix("10.64.0.0/24", "wg0", "10.64.0.2")
    fake_host.attached = (link,)
    run = Run(ExitNodeConfig(advertise=True, uplink="wg0"), fake_host)
    run.see()
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.plugin.appliance_contribute_routes() == DEFAULTS
    fake_host.attached = ()
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.plugin.appliance_contribute_routes() == DEFAULTS, "a short loss is waited for"
    assert {item.code for item in run.plugin.appliance_check_health(HostFacts())} >= {"exit-uplink-away"}
    await fake_host.time.pass_time(HOLD_S + INTERVAL_S)
    assert run.plugin.appliance_contribute_routes() == ()
    assert run.plugin.appliance_contribute_firewall().uplink is not None, "nothing leaves beside it meanwhile"
    fake_host.attached = (link,)
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.plugin.appliance_contribute_routes() == DEFAULTS
    await run.stop()


async def test_ok__the_last_choice_holds_over_a_restart(fake_host: FakeHost) -> None:
    fake_host.store[STORE_KEY] = b"n1"
    run = Run(ExitNodeConfig(use="auto"), fake_host)
    await fake_host.time.pass_time(INTERVAL_S)
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(INTERVAL_S)
    assert run.chosen == "n1"
    await run.stop()


@pytest.mark.parametrize("config", [ExitNodeConfig(), ExitNodeConfig(use="paris")])
async def test_ok__a_named_exit_is_never_left(fake_host: FakeHost, config: ExitNodeConfig) -> None:
    run = Run(config, fake_host)
    run.see(PARIS, OSLO)
    await fake_host.time.pass_time(INTERVAL_S)
    run.see(OSLO)
    await fake_host.time.pass_time(10 * HOLD_S)
    assert run.chosen == ""
    await run.stop()


async def test_ok__control_is_told_of_another_exit(fake_host: FakeHost) -> None:
    run = Run(ExitNodeConfig(use="paris"), fake_host)
    await fake_host.time.pass_time(INTERVAL_S)
    assert fake_host.refreshes == []
    run.see(PARIS)
    await fake_host.time.pass_time(INTERVAL_S)
    assert [kind for kind, _ in fake_host.refreshes] == [RefreshKind.HOSTINFO]
    await run.stop()
