from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from appliance.api import AttachedPrefix, NetmapChange, NodeInfo, RefreshKind
from appliance.api.testing import FakeHost
from appliance.types.errors import ApplianceError
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.hooks import SubnetRouter
from plugins.subnet_router.lan_gate import FIRST_HOLD_S, MISSES
from plugins.subnet_router.service import DOUBT_S, INTERVAL_S, PROBE_LIMIT_S
from plugins.subnet_router.sharing import HOLD_S, RENEW_S

WAN = AttachedPrefix("198.51.100.0/24", "eth0", "198.51.100.7")
LAN = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1")
LAN_V6 = AttachedPrefix("fd00:10::/64", "eth1", "fd00:10::1")
DEAD = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1", up=False)


class Run:
    """The plugin with its service on a virtual clock."""

    def __init__(self, host: FakeHost) -> None:
        self.host, self.plugin = host, SubnetRouter()
        self.service, *_ = self.plugin.appliance_start(host)
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


async def test_ok__a_dead_port_withdraws_soon_and_returns_late(run: Run) -> None:
    await run.start(SubnetRouterConfig(("192.168.10.0/24",)), WAN, LAN)
    run.host.attached = (WAN, DEAD)
    await run.host.time.pass_time(2 * INTERVAL_S)
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
    await run.start(SubnetRouterConfig(("192.168.10.0/24", behind)), WAN, LAN)
    run.host.attached = (WAN,)
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert run.offered == (behind,), "a network behind another router has no port here"


async def test_ok__an_address_may_be_replaced(run: Run) -> None:
    await run.start(SubnetRouterConfig(("192.168.10.0/24",)), WAN, LAN)
    run.host.attached = (WAN,)
    await run.host.time.pass_time(INTERVAL_S + DOUBT_S / 2)
    run.host.attached = (WAN, LAN)
    await run.host.time.pass_time(3 * INTERVAL_S)
    assert run.offered == ("192.168.10.0/24",)
    assert run.asked(RefreshKind.HOSTINFO) == 1


async def test_ok__a_gateway_without_any_link_keeps_its_networks(run: Run) -> None:
    await run.start(SubnetRouterConfig(("192.168.10.0/24",)), LAN)
    for cut_off in ((DEAD,), (), (DEAD, AttachedPrefix("172.17.0.0/16", "docker0"))):
        run.host.attached = cut_off
        await run.host.time.pass_time(5 * INTERVAL_S)
        assert run.offered == ("192.168.10.0/24",)


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


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.5, 0.99])
async def test_ok__a_silent_lan_is_left_before_tcp_repeats_rarely(run: Run, phase: float) -> None:
    probe = "192.168.10.5"
    await run.start(SubnetRouterConfig(("192.168.10.0/24",), probes=(probe,)), LAN)
    await run.host.time.pass_time(phase)
    run.host.silent = {probe}
    await run.host.time.pass_time(2.6)
    assert run.offered == ()


async def test_ok__news_of_a_dead_port_do_not_wait_for_the_next_look(run: Run) -> None:
    probe = "192.168.10.5"
    await run.start(SubnetRouterConfig(("192.168.10.0/24",), probes=(probe,)), WAN, LAN)
    await run.host.time.pass_time(INTERVAL_S / 4)
    run.host.attached, run.host.silent = (WAN, DEAD), {probe}
    run.plugin.appliance_accept_routes((), run.host.attached)
    await run.host.time.pass_time(DOUBT_S)
    assert run.offered == ()


async def test_ok__the_shared_address_is_taken_when_control_says_so(run: Run) -> None:
    shared, lan = "192.168.10.254", "192.168.10.0/24"
    await run.start(SubnetRouterConfig((lan,), shared_address=shared), LAN)
    await run.host.time.pass_time(INTERVAL_S / 4)
    here = NodeInfo("n1", "a", routes=(lan,), primary=(lan,))
    run.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=here))
    await run.host.time.pass_time(0.0)
    assert set(run.host.held) == {(shared, "eth1")}


async def test_ok__the_one_in_charge_holds_the_shared_address(run: Run) -> None:
    shared, lan = "192.168.10.254", "192.168.10.0/24"
    await run.start(SubnetRouterConfig((lan,), shared_address=shared), LAN)
    assert run.host.held == {}, "nobody said yet who is in charge"
    here = NodeInfo("n1", "a", routes=(lan,), primary=(lan,))
    run.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=here))
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert set(run.host.held) == {(shared, "eth1")}
    rows = {row.label: row.detail for row in run.plugin.appliance_status_panel().rows}
    assert rows["Shared address"] == "held here, on eth1"
    run.plugin.appliance_netmap_changed(NetmapChange(self_node=NodeInfo("n1", "a", routes=(lan,))))
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert run.host.held == {}
    run.plugin.appliance_netmap_changed(NetmapChange(self_node=here))
    run.host.attached = (DEAD,)
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert run.host.held == {}, "a router without its LAN is not in charge, whatever control says"


async def test_ok__either_ip_version_has_its_own_shared_address(run: Run) -> None:
    """Each goes where the LAN of its version goes; they are renewed before they end."""
    lans = (LAN.prefix, LAN_V6.prefix)
    config = SubnetRouterConfig(lans, shared_address="192.168.10.254", shared_address_v6="fd00:10::fe", snat=False)
    await run.start(config, LAN, LAN_V6)
    both = NodeInfo("n1", "a", routes=lans, primary=lans)
    run.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=both))
    await run.host.time.pass_time(RENEW_S + 2 * INTERVAL_S)
    assert set(run.host.held) == {("192.168.10.254", "eth1"), ("fd00:10::fe", "eth1")}
    assert min(run.host.held.values()) > run.host.time.now() + HOLD_S - RENEW_S - 2 * INTERVAL_S, "renewed"
    rows = run.plugin.appliance_status_panel().rows
    assert [row.value for row in rows if row.label == "Shared address"] == [*config.shared]
    (source,) = (row.detail for row in rows if row.label == "Source address")
    assert "100.64.0.0/10 via 192.168.10.254 and the route fd7a:115c:a1e0::/48 via fd00:10::fe" in source
    run.plugin.appliance_netmap_changed(NetmapChange(self_node=replace(both, primary=(LAN.prefix,))))
    await run.host.time.pass_time(0.0)
    assert set(run.host.held) == {("192.168.10.254", "eth1")}


async def test_ok__link_local_shared_address_is_on_every_lan_in_charge(run: Run) -> None:
    other = AttachedPrefix("fd00:20::/64", "eth2", "fd00:20::1")
    dead = AttachedPrefix("fd00:30::/64", "eth3", "fd00:30::1", up=False)
    routes = (LAN_V6.prefix, other.prefix, dead.prefix)
    here = NodeInfo("n1", "a", routes=routes, primary=routes)
    run.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=here))
    await run.start(SubnetRouterConfig(routes, shared_address_v6="fe80::fe", snat=False), WAN, LAN, LAN_V6, other, dead)
    rows = {row.label: row.detail for row in run.plugin.appliance_status_panel().rows}
    assert rows["Shared address"] == "held here, on eth1, eth2"
    assert "fd7a:115c:a1e0::/48 via fe80::fe" in rows["Source address"]
    assert set(run.host.held) == {("fe80::fe", "eth1"), ("fe80::fe", "eth2")}


async def test_ok__the_shared_address_goes_with_the_service(run: Run) -> None:
    lan = "192.168.10.0/24"
    run.plugin.appliance_netmap_changed(
        NetmapChange(full=True, self_node=NodeInfo("n1", "a", (), (lan,), primary=(lan,)))
    )
    await run.start(SubnetRouterConfig((lan,), shared_address="192.168.10.254"), LAN)
    assert run.host.held
    assert run.task is not None
    run.task.cancel()
    await asyncio.gather(run.task, return_exceptions=True)
    assert run.host.held == {}


async def test_fail__an_address_that_cannot_be_held_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lan = "192.168.10.0/24"

    async def refuses(*_: object) -> None:
        raise ApplianceError("operation not permitted")

    monkeypatch.setattr(run.host, "hold_address", refuses)
    run.plugin.appliance_netmap_changed(
        NetmapChange(full=True, self_node=NodeInfo("n1", "a", (), (lan,), primary=(lan,)))
    )
    await run.start(SubnetRouterConfig((lan,), shared_address="192.168.10.254"), LAN)
    assert run.host.health["shared-address"].mend
    assert run.offered == (lan,)
