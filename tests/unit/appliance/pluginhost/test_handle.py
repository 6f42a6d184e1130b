"""The handle gives what the manifest asked for, and nothing else."""

from __future__ import annotations

import pytest

from appliance.api.dns import DnsAnswer, ResolverWish
from appliance.api.values import ListenPlace, ListenScope, PacketDevice, Right
from appliance.pluginhost.errors import PluginError
from appliance.pluginhost.handle import InlineHandle

PLACE = ListenPlace(ListenScope.LOCAL, 0)


async def test_ok__rights_open_the_methods(backend) -> None:
    handle = InlineHandle("page", backend, dict, tuple(Right))
    assert (await handle.status()).version == "0"
    assert await handle.panels() == ()
    await handle.act("subnet_router", "Use")
    assert (await handle.setting_fields("dns"))[0].value == 3
    assert await handle.change_settings("dns", {"limit": 4}) == ()
    assert (await handle.change_settings("dns", {"limit": -1}))[0].key == "limit"
    assert backend.acts[1:] == [("dns", "{'limit': 4}"), ("dns", "{'limit': -1}")]
    del backend.acts[1:]
    await handle.confirm()
    assert backend.acts == [("subnet_router", "Use"), ("", "confirm")]
    (await handle.listen(PLACE)).close()
    backend.feed.note("path")
    assert (await handle.wait_change(0)).kinds == ("path",)
    async for change in handle.changes():
        assert change.number == 1
        break
    await handle.set_resolver(ResolverWish(nameservers=("100.100.100.100",)))
    assert backend.wishes == [ResolverWish(nameservers=("100.100.100.100",))]
    await handle.report_answer(DnsAnswer("a.example"))
    assert (await handle.wait_answers(0)).answers == (DnsAnswer("a.example"),)
    assert await handle.capability("example.com/cap") == ("value",)
    assert await handle.exit_resolver() == "http://100.64.0.9:40000/dns-query"
    assert await handle.site_shielded()


async def test_ok__outside_the_mesh(backend) -> None:
    handle = InlineHandle("router", backend, dict, tuple(Right))
    assert await handle.reach("192.0.2.1", 99.0) == 10.0, "bounded"
    assert await handle.reach("192.0.2.2", 1.0) is None
    await handle.hold_address("192.168.1.254", "eth1", 9999)
    await handle.drop_address("192.168.1.254", "eth1")
    assert backend.lines == [("eth1", "hold 192.168.1.254 for 60 s"), ("eth1", "drop 192.168.1.254")]
    await handle.hold_address("fe80::fe", "eth1", 0)
    assert backend.lines[-1] == ("eth1", "hold fe80::fe for 1 s")
    assert (await handle.relay_in_kernel(41642)).serving == 0
    assert [each.check for each in await handle.examine()] == ["clock"]
    assert (await handle.open_device(PacketDevice("waypost-x"))).name == "waypost-x"
    assert backend.lines[-1] == ("router", "open waypost-x")
    assert (await handle.take_datagrams()).port == 40001
    assert (await handle.shape_traffic())["gateway-b"].dropped_packets == 2


async def test_ok__on_the_lan(backend) -> None:
    handle = InlineHandle("reflector", backend, dict, (Right.LAN,))
    assert (await handle.wake("00:1a:2b:3c:4d:5e", "eth1", "gateway-b")).sent == ("eth1",)
    assert [each.address for each in await handle.neighbours()] == ["192.168.1.9"]
    (await handle.join_group("eth1", "224.0.0.251", 5353)).close()
    assert backend.lines == [("eth1", "wake 00:1a:2b:3c:4d:5e at gateway-b"), ("eth1", "join 224.0.0.251")]


METHODS = [
    "listen",
    "status",
    "panels",
    "wait_change",
    "act",
    "confirm",
    "setting_fields",
    "change_settings",
    "reach",
    "open_udp",
    "relay_in_kernel",
    "hold_address",
    "drop_address",
    "wake",
    "neighbours",
    "join_group",
    "examine",
    "set_resolver",
    "report_answer",
    "wait_answers",
    "open_device",
    "take_datagrams",
]


@pytest.mark.parametrize("method", METHODS)
async def test_fail__method_without_its_right(backend, method: str) -> None:
    handle = InlineHandle("page", backend, dict)
    given = {"listen": (PLACE,), "wait_change": (-1,), "act": ("a", "b"), "reach": ("192.0.2.1", 1.0)}
    given |= {"hold_address": ("192.0.2.1", "eth0", 1), "drop_address": ("192.0.2.1", "eth0")}
    given |= {"setting_fields": ("dns",), "change_settings": ("dns", {})}
    given |= {"open_udp": (0,), "relay_in_kernel": (41642,)}
    given |= {"wake": ("00:1a:2b:3c:4d:5e",), "join_group": ("eth0", "224.0.0.251", 5353)}
    given |= {"set_resolver": (ResolverWish(),), "wait_answers": (0,), "report_answer": (DnsAnswer("a.example"),)}
    given |= {"open_device": (PacketDevice("waypost-x"),)}
    arguments = given.get(method, ())
    with pytest.raises(PluginError, match="lacks the right") as caught:
        await getattr(handle, method)(*arguments)
    assert "rights" in caught.value.mend
