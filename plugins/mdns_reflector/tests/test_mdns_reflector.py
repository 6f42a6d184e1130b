"""The plugin as the core sees it, on real sockets of the loopback device."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.api import AttachedPrefix, NetmapChange, NetmapSnapshot, NodeInfo, Transport
from appliance.api.testing import FakeHost, PluginContract
from appliance.pluginhost.settings import parse_settings
from appliance.proto.mdns import parse_message
from appliance.types.errors import ConfigError
from plugins.mdns_reflector import service
from plugins.mdns_reflector.config import MdnsReflectorConfig
from plugins.mdns_reflector.hooks import MdnsReflector
from plugins.mdns_reflector.service import LOOK_S, is_on_link
from plugins.mdns_reflector.tests.network import IPP, announcement, question

CONFIG = MdnsReflectorConfig(interfaces=("lan0",), sites=("gateway-b",), services=(IPP,))
LAN = AttachedPrefix("127.0.0.0/8", "lan0", "127.0.0.1")
SITE_B = NodeInfo("n2", "gateway-b.mesh.test", ("127.0.0.1", "fd7a::2"))


class TestContract(PluginContract):
    plugin_class = MdnsReflector
    config = CONFIG
    arguments = {"appliance_run_command": {"command": "status"}}  # noqa: RUF012  # as the base class says


@dataclass
class Run:
    plugin: MdnsReflector
    host: FakeHost

    async def turn(self) -> None:
        await self.host.time.pass_time(LOOK_S)

    @property
    def codes(self) -> list[str]:
        return [item.code for item in self.plugin.appliance_check_health()]

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.plugin.appliance_run_command("status", ("--json",)).text)
        return found


@pytest.fixture
async def run(fake_host: FakeHost) -> AsyncIterator[Run]:
    fake_host.attached = (LAN,)
    fake_host.snapshot = NetmapSnapshot(peers=(SITE_B, NodeInfo("n3", "gateway-c.mesh.test", ("127.0.0.3",))))
    plugin = MdnsReflector()
    plugin.appliance_configure(CONFIG)
    plugin.appliance_netmap_changed(NetmapChange(True, changed=fake_host.snapshot.peers))
    made = Run(plugin, fake_host)
    (running,) = plugin.appliance_start(fake_host)
    task = asyncio.ensure_future(running.run())
    await made.turn()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_ok__listens_on_chosen_networks_and_in_the_tunnel(run: Run) -> None:
    assert run.host.groups == [("lan0", "224.0.0.251", 5353), ("lan0", "ff02::fb", 5353)], (
        "IPv6 by link-local addresses"
    )
    assert [(place.port, place.transport) for place in run.host.listens] == [(5454, Transport.UDP)]
    status = run.status()
    assert (status["lans"], status["sites"], status["problem"]) == (["lan0 (IPv4)", "lan0 (IPv6)"], ["gateway-b"], "")
    assert run.codes == []
    assert "IPv4" in run.plugin.appliance_status_panel().rows[0].value


async def test_ok__opens_anew_when_networks_or_settings_change(run: Run) -> None:
    run.host.absent_groups.add(("lan0", "ff02::fb"))
    run.host.attached = (LAN, AttachedPrefix("10.0.0.0/8", "lan0", "10.0.0.1"), AttachedPrefix("10.0.0.0/8", "wan"))
    await run.turn()
    assert run.host.groups[2:] == [("lan0", "224.0.0.251", 5353)]
    assert (run.status()["lans"], run.codes) == (["lan0 (IPv4)"], []), "hosts there speak IPv4 only"
    run.host.attached = (LAN, AttachedPrefix("fd00:1::/64", "lan0", "fd00:1::1"))
    await run.turn()
    assert run.codes == ["closed"], "with an IPv6 network it should be there"
    run.host.absent_groups.clear()
    await run.turn()
    assert run.status()["lans"] == ["lan0 (IPv4)", "lan0 (IPv6)"]
    run.host.attached = ()
    await run.turn()
    assert (run.status()["lans"], run.codes) == ([], ["closed"])
    run.plugin.appliance_configure(MdnsReflectorConfig(("lan0",), ("gateway-c", "ghost"), (IPP,)))
    run.host.attached = (LAN,)
    await run.turn()
    assert run.status()["sites"] == ["gateway-c"]
    assert run.codes == ["no-site"]
    run.plugin.appliance_configure(MdnsReflectorConfig())
    await run.turn()
    assert (run.status()["listening"], run.codes) == ("", ["not-set"])


async def test_ok__peers_come_and_go(run: Run) -> None:
    run.plugin.appliance_netmap_changed(NetmapChange(removed=("n2",)))
    assert run.status()["sites"] == []
    run.plugin.appliance_netmap_changed(NetmapChange(changed=(SITE_B,)))
    assert run.status()["sites"] == ["gateway-b"]


async def test_ok__datagrams_pass_between_the_sockets(run: Run) -> None:
    counters = run.plugin._state.reflector.counters
    (place,) = run.host.listens
    assert place.port == 5454
    address, _, port = run.status()["listening"].split()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.sendto(announcement(), (address, int(port)))
        await until(lambda: counters["in_sent"] == 1)
        seen = json.loads(run.plugin.appliance_run_command("list", ("--json",)).text)
        assert [(each["site"], each["name"]) for each in seen] == [("gateway-b", f"Printer.{IPP}.local")]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            stranger.sendto(announcement(), (address, int(port)))
            await until(lambda: counters["in_stranger"] == 1)


async def test_ok__questions_of_neighbours_go_to_the_sites(run: Run) -> None:
    reflection = service.Reflection(run.host, run.plugin._state, lambda: 1.0)
    reflection._lans = (LAN,)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tunnel,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        tunnel.bind(("127.0.0.1", 0))
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        reflection._tunnel = tunnel
        run.plugin._state.config = MdnsReflectorConfig(("lan0",), ("gateway-b",), (IPP,), peer.getsockname()[1])
        reflection._from_lan("lan0", question(), "127.0.0.5", 40000)
        reflection._from_lan("lan0", question(), "192.0.2.5", 5353)
        assert run.plugin._state.reflector.counters["out_stranger"] == 2, "a port of its own; from elsewhere"
        reflection._from_lan("lan0", question(), "127.0.0.5", 5353)
        assert parse_message(peer.recv(2000)) == parse_message(question())


def test_ok__on_link() -> None:
    lans = (AttachedPrefix("192.168.1.0/24", "lan0", "192.168.1.1"),)
    assert is_on_link("192.168.1.7", "lan0", lans)
    assert is_on_link("fe80::1", "lan0", lans)
    assert not is_on_link("192.168.1.7", "lan1", lans)
    assert not is_on_link("192.168.2.7", "lan0", lans)


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"services": ["ipp"]}, "services[0]"),
        ({"services": [IPP, "_x._sctp"]}, "services[1]"),
        ({"services": ["_UPPER._tcp"]}, "services[0]"),
        ({"services": [IPP] * 65}, "services"),
        ({"interfaces": ["lan 0"]}, "interfaces[0]"),
        ({"sites": ["-x"]}, "sites[0]"),
        ({"port": 5353}, "port"),
        ({"port": 80}, "port"),
        ({"port": "x"}, "port"),
        ({"sitez": []}, "sitez"),
    ],
)
def test_fail__settings(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings("mdns_reflector", MdnsReflectorConfig, table)
    assert caught.value.text.startswith(f"plugins.mdns_reflector.{key}")
