"""The plugin as the core sees it: every hook under its contract, the service on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, ClassVar

import dns.message
import dns.rcode
import pytest

from appliance.api import AttachedPrefix, DnsSettings, DnsUpstream, HostFacts, NetmapChange, NodeInfo, Transport
from appliance.api.testing import HOOK_CONTRACTS, FakeHost, PluginContract
from appliance.types.errors import ApplianceError
from plugins.magicdns.config import MagicDnsConfig
from plugins.magicdns.hooks import MagicDns
from plugins.magicdns.os_dns import OURS, HostFiles
from plugins.magicdns.service import DnsService
from plugins.magicdns.tests.scripted import Scripted

SELF = NodeInfo("n1", "gw.mesh.example", ("100.64.0.1", "fd7a:115c:a1e0::1"))
PEER = NodeInfo("n2", "web.mesh.example", ("100.64.0.2",))
DNS = DnsSettings(routes={"mesh.example": ()}, domains=("mesh.example",), proxied=True)
JOINED = NetmapChange(full=True, self_node=SELF, changed=(PEER,), dns=DNS)
BOTH = ("100.100.100.100", "fd7a:115c:a1e0::53")


class TestContract(PluginContract):
    plugin_class = MagicDns
    config = MagicDnsConfig()
    arguments: ClassVar = {
        "appliance_netmap_changed": {"change": JOINED},
        "appliance_run_command": {"command": "status", "arguments": ()},
    }


class Running:
    """The plugin with its service on a host of the test's own files."""

    def __init__(self, config: MagicDnsConfig) -> None:
        self.plugin = MagicDns()
        self.host = RecordingHost("magicdns")
        self.files = HostFiles("nameserver 127.0.0.1\n")
        self.plugin.appliance_configure(config)
        self.core = self.plugin._core
        self.service = DnsService(self.host, self.core, lambda: self.files)

    def command(self, *words: str) -> Any:
        reply = self.plugin.appliance_run_command(words[0], words[1:])
        assert reply.ok, reply.text
        return json.loads(reply.text)

    async def until(self, condition: Any) -> None:
        while not condition():
            self.core.changed.set()
            await asyncio.sleep(0.01)


class RecordingHost(FakeHost):
    """Remembers the sockets that it gave."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self.given: dict[tuple[str, Transport], socket.socket] = {}

    async def listen(self, place: Any) -> socket.socket:
        found = await super().listen(place)
        self.given[place.address, place.transport] = found
        return found


async def dig(sock: socket.socket, name: str, rtype: str = "A") -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.connect(sock.getsockname())
        client.send(dns.message.make_query(name, rtype).to_wire())
        return dns.message.from_wire(await loop.sock_recv(client, 65535))


async def dig_tcp(sock: socket.socket, *names: str) -> list[dns.message.Message]:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    found = []
    for name in names:
        wire = dns.message.make_query(name, "A").to_wire()
        writer.write(struct.pack(">H", len(wire)) + wire)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        found.append(dns.message.from_wire(await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return found


async def test_ok__joins_answers_sets_the_host_and_gives_it_back() -> None:
    async with Scripted({("www.example", "A"): ("192.0.2.1",)}).serving() as upstream:
        running = Running(MagicDnsConfig(upstreams=(f"127.0.0.1:{upstream.port}",), os="file"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(running.service.run())
            await running.until(lambda: running.host.resolver_wishes)
            assert running.host.resolver_wishes[0].nameservers == (), "what a killed run left is put back first"
            running.plugin.appliance_netmap_changed(JOINED)
            await running.until(lambda: running.host.resolver_wishes[-1].nameservers)
            wish = running.host.resolver_wishes[-1]
            assert (wish.way, wish.nameservers, wish.search) == ("file", BOTH, ("mesh.example",))
            sock = running.host.given["100.100.100.100", Transport.UDP]
            reply = await dig(sock, "web.mesh.example")
            assert reply.answer[0].to_text() == "web.mesh.example. 5 IN A 100.64.0.2"
            assert (await dig(sock, "www.example")).answer
            stream = running.host.given["100.100.100.100", Transport.TCP]
            assert [len(each.answer) for each in await dig_tcp(stream, "web", "www.example", "none.example")] == [
                1,
                1,
                0,
            ]
            number = running.command("query", "www.example")["number"]
            found: dict[str, Any] = {}
            while "rcode" not in found:
                await asyncio.sleep(0)
                found = running.command("result", str(number))
            assert found["answers"] == [{"name": "www.example", "type": "A", "ttl": 60, "data": "192.0.2.1"}]
            running.plugin.appliance_netmap_changed(NetmapChange(full=True))
            await running.until(lambda: not running.host.resolver_wishes[-1].nameservers)
            running.plugin.appliance_netmap_changed(JOINED)
            running.files = HostFiles(f"{OURS}\n")
            await running.until(lambda: running.host.resolver_wishes[-1].nameservers)
            task.cancel()
        assert not running.host.resolver_wishes[-1].nameservers, "undone at the end"


async def test_ok__a_file_that_others_write_over_is_written_again_and_told() -> None:
    running = Running(MagicDnsConfig(upstreams=("127.0.0.1:1",), os="file"))
    running.plugin.appliance_netmap_changed(JOINED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        await running.until(lambda: running.core.state.os.overwritten >= 3)
        codes = {item.code for item in running.plugin.appliance_check_health()}
        assert "resolv-conf-overwritten" in codes
        task.cancel()


async def test_ok__systemd_resolved_is_told_again_after_its_restart() -> None:
    running = Running(MagicDnsConfig(os="resolved"))
    running.files = HostFiles("nameserver 127.0.0.1\n", resolved_run="1")
    running.plugin.appliance_netmap_changed(JOINED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        await running.until(lambda: running.host.resolver_wishes and running.host.resolver_wishes[-1].nameservers)
        told = len(running.host.resolver_wishes)
        assert running.host.resolver_wishes[-1].domains == ("mesh.example",)
        for _ in range(5):
            running.core.changed.set()
            await asyncio.sleep(0.01)
        assert len(running.host.resolver_wishes) == told
        running.files = HostFiles("nameserver 127.0.0.1\n", resolved_run="2")
        await running.until(lambda: len(running.host.resolver_wishes) == told + 1)
        task.cancel()


def manager_file(*servers: str) -> HostFiles:
    text = "# Generated by NetworkManager\n" + "".join(f"nameserver {each}\n" for each in servers)
    return HostFiles(text, upstream=text)


async def test_ok__resolvers_that_network_manager_hides_are_remembered_on_this_network() -> None:
    """While it is told to ask us, its files name nobody else."""
    running = Running(MagicDnsConfig())
    running.files = manager_file("127.0.0.1")
    running.plugin.appliance_netmap_changed(JOINED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        wishes = running.host.resolver_wishes
        await running.until(lambda: wishes and wishes[-1].nameservers)
        running.files = manager_file(*BOTH)
        told = len(wishes)
        for _ in range(5):
            running.core.changed.set()
            await asyncio.sleep(0.01)
        assert len(wishes) == told, "nothing is taken back and set again"
        assert [each["name"] for each in running.command("status")["upstreams"]] == ["127.0.0.1"]

        running.host.attached = (AttachedPrefix("192.168.7.0/24", "wlan0", "192.168.7.9"),)
        await running.until(lambda: not wishes[-1].nameservers)
        running.files = manager_file("127.0.0.2")
        await running.until(lambda: bool(wishes[-1].nameservers))
        assert [each["name"] for each in running.command("status")["upstreams"]] == ["127.0.0.2"]
        task.cancel()


@pytest.mark.parametrize(("os", "told"), [("auto", False), ("file", True)])
async def test_fail__no_helper(os: str, told: bool) -> None:
    running = Running(MagicDnsConfig(upstreams=("127.0.0.1:1",), os=os))
    running.host.refuse_resolver = ApplianceError("no helper", mend="start it", code="helper-away")
    running.plugin.appliance_netmap_changed(JOINED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        await running.until(lambda: running.core.state.listening)
        running.service._retry_at = 0
        await running.until(lambda: running.core.state.os.error)
        items = HOOK_CONTRACTS["appliance_check_health"](running.plugin, running.host, facts=HostFacts())
        assert ("dns-set-os-config-failed" in {item.code for item in items}) == told
        task.cancel()


async def test_ok__site_and_strangers() -> None:
    running = Running(MagicDnsConfig(serve_lan=True, lan_clients=("10.9.0.0/16",)))
    running.host.attached = (AttachedPrefix("192.168.10.0/24", "eth0", "192.168.10.1"),)
    running.plugin.appliance_netmap_changed(JOINED)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        await running.until(lambda: len(running.core.state.listening) == 3)
        judge = running.core.judge
        verdicts = {source: judge(source) for source in ("127.0.0.1", "192.168.10.1", "100.64.0.1", "fe80::1%eth0")}
        assert [verdicts[each] and str(verdicts[each]) for each in verdicts] == ["host", "host", "host", None]
        assert [judge(source) for source in ("192.168.10.7", "10.9.1.1", "192.168.11.7", "100.64.0.2")] == [
            "site",
            "site",
            None,
            None,
        ]
        running.core.judge = lambda _source: None
        reply = await dig(running.host.given["192.168.10.1", Transport.UDP], "web.mesh.example")
        assert reply.rcode() == dns.rcode.REFUSED
        assert running.command("status")["site_served"]
        task.cancel()


async def test_ok__resolvers_of_control_and_what_is_wrong_with_them() -> None:
    given = DnsSettings(
        (DnsUpstream("9.9.9.9"), DnsUpstream("100.100.100.100"), DnsUpstream("nonsense")),
        routes={"corp.example": (DnsUpstream("10.0.0.53"),)},
        records=(("bad", "A", "x"),),
    )
    running = Running(MagicDnsConfig())
    running.plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=SELF, dns=given))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.service.run())
        await running.until(lambda: running.core.state.upstreams)
        assert [(each.route, each.name) for each in running.core.state.upstreams] == [
            ("", "9.9.9.9"),
            ("corp.example", "10.0.0.53"),
        ]
        (item,) = [i for i in running.plugin.appliance_check_health() if i.code == "dns-settings-ignored"]
        assert "nonsense" in item.text
        assert "bad" in item.text
        running.host.shielded = True
        await running.until(lambda: not running.core.resolver.routes.open_to_site)
        running.host.exit_url = "http://100.64.0.2:40000/dns-query"
        await running.until(lambda: [each.name for each in running.core.state.upstreams] == [running.host.exit_url])
        assert running.core.resolver.routes.open_to_site, "it is asked inside the mesh"
        running.host.exit_url = ""
        running.plugin.appliance_configure(MagicDnsConfig(accept=False))
        await running.until(lambda: [each.name for each in running.core.state.upstreams] == ["127.0.0.1"])
        task.cancel()


def test_fail__commands() -> None:
    plugin = MagicDns()
    for words in (("query",), ("query", "a..b"), ("query", "a", "nonsense"), ("result", "7"), ("result", "x"), ("x",)):
        reply = plugin.appliance_run_command(words[0], words[1:])
        assert not reply.ok
        assert reply.text
