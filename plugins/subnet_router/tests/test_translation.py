"""The driver on twins: a device while something is to be translated, packets through it in batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from appliance.api import HostFacts, NetmapChange, NetmapSnapshot, NodeInfo, QueueTraffic, RefreshKind, TunPacket
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from appliance.ports.packets import MemoryTunPort
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.hooks import SubnetRouter
from plugins.subnet_router.translation import INTERVAL_S
from plugins.subnet_router.via import DEVICE
from tests.contract.packets import udp

PEER, VIA_HOST, HOST = "fd7a:115c:a1e0::9", "fd7a:115c:a1e0:b1a:0:7:c0a8:105", "192.168.1.5"
SERVED = SubnetRouterConfig(("192.168.1.0/24-via-7",))


class Run:
    """The plugin and the services that this is about, on a virtual clock."""

    def __init__(self, host: FakeHost) -> None:
        self.host, self.plugin = host, SubnetRouter()
        _, *self.services = self.plugin.appliance_start(host)
        self.tasks = [asyncio.ensure_future(service.run()) for service in self.services]

    async def set(self, config: SubnetRouterConfig) -> None:
        self.plugin.appliance_configure(config)
        await self.host.time.pass_time(2 * INTERVAL_S)

    @property
    def port(self) -> MemoryTunPort:
        return self.host.devices[-1][1]

    def metric(self, name: str) -> float:
        return sum(each.value for each in self.plugin.appliance_metrics() if each.name == name)


@pytest.fixture
async def run(fake_host: FakeHost) -> AsyncIterator[Run]:
    made = Run(fake_host)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


def source(packet: TunPacket) -> str:
    return ".".join(map(str, packet.data[12:16]))


async def test_ok__packets_go_there_and_back(run: Run) -> None:
    run.host.host_facts = HostFacts(tunnel_mtu=1420)
    await run.set(SERVED)
    assert run.host.devices[0][0].name == DEVICE
    run.port.push(TunPacket(udp(PEER, VIA_HOST, b"question")))
    (there,) = run.port.sent
    run.port.push(TunPacket(udp(HOST, source(there), b"answer")))
    assert bytes(run.port.sent[1].data) == udp(VIA_HOST, PEER, b"answer")
    assert run.metric("waypost_translated_packets_total") == 2
    assert run.metric("waypost_translation_senders") == 1
    run.port.push(TunPacket(udp(HOST, "198.18.5.5", b"")))
    assert run.metric("waypost_untranslated_packets_total") == 1
    rows = {row.label: row.value for row in run.plugin.appliance_status_panel().rows}
    assert rows["4via6"] == "1 packets in, 1 out, 1 senders"


async def test_ok__no_device_without_need(run: Run) -> None:
    await run.set(SubnetRouterConfig(("10.0.0.0/8",)))
    assert run.host.devices == []
    await run.set(SERVED)
    first = run.port
    await run.set(SubnetRouterConfig())
    assert first.closed
    assert len(run.host.devices) == 1


async def test_fail__a_device_that_somebody_deleted_is_made_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    await run.set(SERVED)
    first = run.port

    def gone(_limit: int) -> list[TunPacket]:
        raise OSError(77, "gone")

    monkeypatch.setattr(first, "receive", gone)
    first.push(TunPacket(b""))
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert first.closed
    assert len(run.host.devices) == 2


async def test_fail__the_kernel_refuses_a_packet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    await run.set(SERVED)

    def refuse(_packets: object) -> None:
        raise OSError(22, "refused")

    monkeypatch.setattr(run.port, "send", refuse)
    run.port.push(TunPacket(udp(PEER, VIA_HOST, b"question")))
    reply = run.plugin.appliance_run_command("translation", ())
    assert json.loads(reply.text)["counters"]["unsent"] == 1


async def test_fail__a_full_pool_is_told(run: Run) -> None:
    await run.set(SubnetRouterConfig(("192.168.1.0/24-via-7",), translation_pool="198.18.0.0/28"))
    for number in range(1, 30):
        run.port.push(TunPacket(udp(f"fd7a:115c:a1e0::{number:x}", VIA_HOST, b"")))
    codes = {item.code for item in run.plugin.appliance_check_health(HostFacts())}
    assert "translation-pool-full" in codes


async def test_ok__limits_of_peers_that_were_there_before(run: Run) -> None:
    peer = NodeInfo("n2", "gateway-b.mesh.example", ("100.64.0.2",))
    run.host.snapshot = NetmapSnapshot(peers=(peer,))
    await run.set(SubnetRouterConfig(limits=("gateway-b 1mbit",)))
    assert RefreshKind.ROUTER in [kind for kind, _ in run.host.refreshes]
    part = HOOK_CONTRACTS["appliance_contribute_firewall"](run.plugin, run.host)
    assert [(each.destinations, each.rate_kbit) for each in part.shapes] == [(("100.64.0.2/32",), 1000)]
    run.host.traffic = {"gateway-b": QueueTraffic(sent_bytes=1500, sent_packets=1)}
    await run.host.time.pass_time(2 * INTERVAL_S)
    assert "1500 bytes in 1 packets passed" in run.plugin.appliance_run_command("limits", ()).text
    run.plugin.appliance_netmap_changed(NetmapChange(removed=("n2",)))
    assert run.plugin.appliance_contribute_firewall().shapes == ()
    rows = {row.label: row.detail or row.value for row in run.plugin.appliance_status_panel().rows}
    assert "no peer has that name" in rows["Limited"]


def test_ok__commands(fake_host: FakeHost) -> None:
    plugin = SubnetRouter()
    plugin.appliance_configure(SubnetRouterConfig(("192.168.1.0/24-via-7",), translate=("10.1.0.0/16 as 10.2.0.0/16",)))
    check = HOOK_CONTRACTS["appliance_run_command"]
    shown = json.loads(check(plugin, fake_host, command="translation").text)
    assert shown["counters"] is None
    assert shown["one_to_one"] == [{"inside": "10.1.0.0/16", "outside": "10.2.0.0/16", "name": ""}], "not in a mesh yet"
    via = json.loads(check(plugin, fake_host, command="via", arguments=("7", "192.168.1.0/24")).text)
    assert via == shown["4via6"][0]
    assert via["name"] == "192-168-1-1-via-7"
    for wrong in (("7",), ("x", "10.0.0.0/8"), ("4294967296", "10.0.0.0/8"), ("7", "127.0.0.0/8")):
        assert not check(plugin, fake_host, command="via", arguments=wrong).ok
