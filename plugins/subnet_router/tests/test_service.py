from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.api import AttachedPrefix, RefreshKind
from appliance.api.testing import FakeHost
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.hooks import SubnetRouter
from plugins.subnet_router.lan_gate import FIRST_HOLD_S, MISSES
from plugins.subnet_router.service import INTERVAL_S, PROBE_LIMIT_S

LAN = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1")
DEAD = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1", up=False)


class Run:
    """The plugin with its service on a virtual clock."""

    def __init__(self, host: FakeHost) -> None:
        self.host, self.plugin = host, SubnetRouter()
        (self.service,) = self.plugin.appliance_start(host)
        self.task: asyncio.Task[None] | None = None

    async def start(self, config: SubnetRouterConfig, *attached: AttachedPrefix) -> None:
        self.plugin.appliance_configure(config)
        self.host.attached = attached
        self.task = asyncio.ensure_future(self.service.run())
        await self.host.time.pass_time(INTERVAL_S)

    @property
    def offered(self) -> tuple[str, ...]:
        return tuple(self.plugin.appliance_contribute_routes())

    def asked(self, kind: RefreshKind) -> int:
        return sum(found == kind for found, _ in self.host.refreshes)


@pytest.fixture
async def run(fake_host: FakeHost) -> AsyncIterator[Run]:
    made = Run(fake_host)
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)


async def test_ok__new_network_asks_for_new_routes(run: Run) -> None:
    await run.start(SubnetRouterConfig())
    await run.host.time.pass_time(3 * INTERVAL_S)
    assert run.host.refreshes == []
    run.host.attached = (AttachedPrefix("10.0.0.0/24", "eth2"),)
    await run.host.time.pass_time(3 * INTERVAL_S)
    assert [kind for kind, _ in run.host.refreshes] == [RefreshKind.ROUTER]


async def test_ok__auto_follows_the_networks(run: Run) -> None:
    await run.start(SubnetRouterConfig(auto=True, auto_except=("192.168.99.0/24", "guest0")), LAN)
    assert run.offered == ("192.168.10.0/24",)
    assert run.asked(RefreshKind.HOSTINFO) == 1
    more = (
        AttachedPrefix("10.5.0.0/16", "eth2"),
        AttachedPrefix("192.168.99.0/25", "eth3"),
        AttachedPrefix("10.6.0.0/24", "guest0"),
        AttachedPrefix("172.17.0.0/16", "docker0"),
        AttachedPrefix("198.51.100.0/24", "eth4"),
        AttachedPrefix("fd00:1::/64", "eth1"),
    )
    run.host.attached = (LAN, *more)
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert run.offered == ("10.5.0.0/16", "192.168.10.0/24", "fd00:1::/64")
    assert run.asked(RefreshKind.HOSTINFO) == 2


async def test_ok__a_dead_port_withdraws_at_once_and_returns_late(run: Run) -> None:
    await run.start(SubnetRouterConfig(("192.168.10.0/24",)), LAN)
    run.host.attached = (DEAD,)
    await run.host.time.pass_time(INTERVAL_S)
    assert run.offered == ()
    assert run.plugin.appliance_contribute_firewall().forwarded == ("192.168.10.0/24",)
    assert run.asked(RefreshKind.HOSTINFO) == 2
    run.host.attached = (LAN,)
    await run.host.time.pass_time(FIRST_HOLD_S - 2 * INTERVAL_S)
    assert run.offered == ()
    await run.host.time.pass_time(4 * INTERVAL_S)
    assert run.offered == ("192.168.10.0/24",)


async def test_ok__an_interface_that_went_away_withdraws_its_network_only(run: Run) -> None:
    behind = "10.20.0.0/16"
    await run.start(SubnetRouterConfig(("192.168.10.0/24", behind)), LAN)
    run.host.attached = ()
    await run.host.time.pass_time(INTERVAL_S)
    assert run.offered == (behind,), "a network behind another router has no port here"


async def test_ok__silent_probes_withdraw(run: Run) -> None:
    probes = ("192.168.10.5", "192.168.10.6")
    await run.start(SubnetRouterConfig(("192.168.10.0/24", "10.0.0.0/8"), probes=probes), LAN)
    run.host.silent = {probes[0]}
    await run.host.time.pass_time(20 * INTERVAL_S)
    assert len(run.offered) == 2, "one host that is off is no lost network"
    run.host.silent = set(probes)
    await run.host.time.pass_time(INTERVAL_S + PROBE_LIMIT_S)
    assert len(run.offered) == 2, "one lost packet is none either"
    await run.host.time.pass_time(MISSES * (INTERVAL_S + PROBE_LIMIT_S))
    assert run.offered == ("10.0.0.0/8",)
    run.host.silent = set()
    await run.host.time.pass_time(FIRST_HOLD_S + 2 * INTERVAL_S)
    assert len(run.offered) == 2
