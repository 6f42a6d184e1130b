"""The router on twins: only differences, former state on failure, nothing left at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.conntrack import Flow, MemoryConntrack
from appliance.ports.firewall import FirewallError, MemoryFirewall
from appliance.ports.netlink import InterfaceAddress, MemoryNetlink, NetlinkError, PolicyRule, QueueTraffic, Route
from appliance.ports.sysctl import MemoryJournal, MemorySysctl
from appliance.router.forwarding import DEVICE_KEY
from appliance.router.model import ForeignMode, RouterModel, Shape, SideDevice
from appliance.router.service import REPAIR_BURST, Router, RouterError
from appliance.types.errors import Severity
from appliance.types.netmap import FilterRule, PortRange

PEER, LAN = ip_network("100.64.0.2/32"), ip_network("192.168.20.0/24")
MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    routes=(PEER, LAN),
    advertised=(ip_network("192.168.10.0/24"),),
    rules=(FilterRule(("*",), (PortRange("*"),)),),
    wireguard_port=41641,
)


class Host:
    """Twins of one host, whose engine has made the tunnel device."""

    def __init__(self):
        self.netlink = MemoryNetlink()
        self.netlink.add_link("waypost0")
        self.netlink.add_link("eth0", ip_interface("192.168.10.1/24"), up=True)
        self.firewall = MemoryFirewall()
        self.sysctl = MemorySysctl(
            {
                "net/ipv4/ip_forward": "0",
                "net/ipv6/conf/waypost0/disable_ipv6": "0",
                "net/ipv6/conf/waypost0/addr_gen_mode": "0",
            }
        )
        self.journal = MemoryJournal()
        self.conntrack = MemoryConntrack()
        self.events = []
        self.clock = VirtualClock()

    def router(self):
        return Router(
            self.netlink,
            self.firewall,
            self.sysctl,
            self.journal,
            conntrack=self.conntrack,
            health=self.events.append,
            clock=self.clock,
        )

    def state(self):
        netlink = self.netlink
        return (
            set(netlink.address_list),
            set(netlink.route_map.values()),
            set(netlink.rule_list),
            set(self.firewall.tables),
            self.sysctl.values["net/ipv4/ip_forward"],
            self.journal.text,
        )


@pytest.fixture
def host():
    return Host()


async def test_ok__apply_and_close(host):
    before = host.state()
    router = host.router()
    await router.apply(MODEL)
    assert host.netlink.link_map["waypost0"].up
    assert host.netlink.link_map["waypost0"].mtu == 1280
    assert Route(LAN, 52, interface="waypost0") in host.netlink.route_map.values()
    assert InterfaceAddress("waypost0", ip_interface("fd7a:115c:a1e0::1/128")) in host.netlink.address_list
    assert len(host.netlink.rule_list) == 8
    assert ("inet", "waypost") in host.firewall.tables
    assert host.sysctl.values["net/ipv4/ip_forward"] == "1"
    assert host.events == []
    await router.close()
    assert host.state() == before
    await router.close()


async def test_ok__the_filter_stands_before_the_device_is_up(host):
    seen = []
    original = host.netlink.set_link

    async def set_link(interface, **changes):
        seen.append(("inet", "waypost") in host.firewall.tables)
        await original(interface, **changes)

    host.netlink.set_link = set_link
    router = host.router()
    await router.apply(MODEL)
    await router.close()
    assert seen
    assert all(seen)


async def test_ok__what_the_kernel_turns_off_with_the_device_comes_back_each_time(host):
    host.sysctl.values[DEVICE_KEY] = "1"
    original = host.netlink.set_link

    async def set_link(interface, *, up=None, mtu=None):
        if up:  # as WireGuard's devices do
            host.sysctl.values[DEVICE_KEY] = "0"
        await original(interface, up=up, mtu=mtu)

    host.netlink.set_link = set_link
    router = host.router()
    before = await router.device_setting()
    await set_link("waypost0", up=True)
    await router.note_device(before)
    for _ in range(2):
        await router.apply(MODEL)
        assert host.sysctl.values[DEVICE_KEY] == "0"
        await router.close()
        assert host.sysctl.values[DEVICE_KEY] == "1"


async def test_ok__only_differences(host):
    router = host.router()
    await router.apply(MODEL)
    host.netlink.batches.clear()
    host.firewall.documents.clear()
    await router.apply(MODEL)
    assert host.netlink.batches == []
    assert host.firewall.documents == []
    more = ip_network("192.168.30.0/24")
    await router.apply(replace(MODEL, routes=(PEER, more)))
    old, new = Route(LAN, 52, interface="waypost0"), Route(more, 52, interface="waypost0")
    assert host.netlink.batches == [((old,), (new,))]
    assert host.firewall.documents == []


async def test_ok__no_ipv6_on_the_interface(host):
    host.sysctl.values["net/ipv6/conf/waypost0/disable_ipv6"] = "1"
    await host.router().apply(MODEL)
    assert {rule.version for rule in host.netlink.rule_list} == {4}
    assert all(item.address.version == 4 for item in host.netlink.address_list)


async def test_fail__first_apply_leaves_nothing(host):
    before = host.state()
    host.netlink.refuse = lambda item: "no room" if isinstance(item, PolicyRule) else ""
    with pytest.raises(RouterError, match="no room"):
        await host.router().apply(MODEL)
    assert host.state() == before
    assert not host.netlink.link_map["waypost0"].up


async def test_fail__the_former_state_stands(host):
    router = host.router()
    await router.apply(MODEL)
    state, table = host.state(), deepcopy(host.firewall.tables["inet", "waypost"])
    bad = ip_network("192.168.66.0/24")
    host.netlink.refuse = lambda item: "no room" if isinstance(item, Route) and item.destination == bad else ""
    with pytest.raises(RouterError, match=r"192\.168\.66\.0/24"):
        await router.apply(replace(MODEL, routes=(PEER, bad), rules=()))
    assert host.state() == state
    assert host.firewall.tables["inet", "waypost"].sets == table.sets
    assert router.model == MODEL
    host.netlink.refuse = lambda _item: ""
    await router.apply(replace(MODEL, routes=(PEER, bad)))
    assert Route(bad, 52, interface="waypost0") in host.netlink.route_map.values()


async def test_fail__a_refused_table_changes_nothing(host):
    before = host.state()
    host.firewall.refuse = "not today"
    with pytest.raises(FirewallError, match="not today"):
        await host.router().apply(MODEL)
    host.firewall.refuse = ""
    assert host.state() == before


async def test_fail__no_device(host):
    host.netlink.remove_link("waypost0")
    with pytest.raises(RouterError, match="no interface waypost0") as caught:
        await host.router().apply(MODEL)
    assert "engine" in caught.value.mend


async def test_ok__stale_state_is_recognised(host):
    host.netlink.rule_list.append(PolicyRule(4, 5270, 52, protocol=0))  # the same rule, of another program
    before = host.state()
    await host.router().apply(MODEL)
    host.netlink.remove_link("waypost0")  # the crashed process took its device along
    host.netlink.add_link("waypost0")
    cleaned = await host.router().clean_stale()
    assert "nftables table inet waypost" in cleaned
    assert "setting net.ipv4.ip_forward" in cleaned
    assert host.state() == before
    assert await host.router().clean_stale() == ()


async def test_ok__repair_puts_back_what_others_removed(host):
    router = host.router()
    await router.repair()
    await router.apply(MODEL)
    state = host.state()
    host.netlink.rule_list.clear()
    del host.firewall.tables["inet", "waypost"]
    await host.netlink.set_link("waypost0", up=False)
    await router.repair()
    assert host.state() == state


async def test_ok__a_new_device_of_the_same_name_is_set_up(host):
    router = host.router()
    await router.apply(MODEL)
    state = host.state()
    host.netlink.remove_link("waypost0")
    host.netlink.add_link("waypost0")
    await router.apply(MODEL)
    assert host.state() == state


async def test_ok__a_table_changed_by_others_is_made_anew(host):
    router = host.router()
    await router.apply(MODEL)
    host.firewall.tables["inet", "waypost"].sets.clear()
    await router.apply(replace(MODEL, rules=()))
    assert "local4" in host.firewall.tables["inet", "waypost"].sets


async def test_ok__repairs_have_a_budget(host):
    router = host.router()
    await router.apply(MODEL)
    assert router._repairs.take(host.clock.now(), REPAIR_BURST - 1)
    assert await router.repair_soon()
    assert not await router.repair_soon()
    assert host.events[-1].code == "router-contended"
    host.clock.advance(5)
    assert await router.repair_soon()


async def test_ok__foreign_firewalls_are_told_and_opened(host):
    await host.firewall.apply(
        "add table ip filter\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n"
    )
    router = host.router()
    await router.apply(MODEL)
    assert host.events[-1].code == "foreign-firewall-drop"
    assert "ip table filter chain FORWARD" in host.events[-1].text
    assert [drop.chain for drop in await router.foreign_drops()] == ["FORWARD"]
    await router.apply(replace(MODEL, foreign=ForeignMode.OPEN))
    assert not host.events[-1].broken
    assert len(host.firewall.tables["ip", "filter"].chains["FORWARD"]) == 2
    await router.close()
    assert host.firewall.tables["ip", "filter"].chains["FORWARD"] == []


async def test_ok__forwarding_that_cannot_be_had_is_a_health_item(host):
    host.sysctl.read_only = True
    await host.router().apply(MODEL)
    assert host.events[0].code == "ip-forwarding-off"


async def test_ok__bad_rules_are_a_health_item(host):
    await host.router().apply(replace(MODEL, rules=(FilterRule(("bad",), (PortRange("*"),)),)))
    assert host.events[0].code == "invalid-packet-filter"


SSH = Flow(4, 6, int(PEER.network_address), int(ip_network("192.168.10.5").network_address), 1000, 22)


async def test_ok__flows_end_with_their_rule(host):
    router = host.router()
    await router.apply(MODEL)
    host.conntrack.flows = {SSH: 0x40000, SSH._replace(source=9): 0}
    searches = host.conntrack.searches
    await router.apply(replace(MODEL, routes=(PEER,)))
    assert host.conntrack.searches == searches, "nobody lost anything"
    await router.apply(replace(MODEL, rules=()))
    await router.end_flows()
    assert list(host.conntrack.flows) == [SSH._replace(source=9)]
    assert "192.168.10.5 . 22 . 100.64.0.2 . 1000" in host.firewall.tables["inet", "waypost"].sets["ended4"]


async def test_ok__a_new_run_looks_at_all_flows(host):
    host.conntrack.flows = {SSH: 0x40000, SSH._replace(destination=9): 0x40000}
    router = host.router()
    await router.apply(MODEL)
    await router.end_flows()
    assert list(host.conntrack.flows) == [SSH]


async def test_ok__withdrawals_are_looked_for_by_themselves_and_together(host):
    router = host.router()
    await router.apply(MODEL)
    await router.end_flows()
    host.conntrack.flows = {SSH: 0x40000}
    searches = host.conntrack.searches
    await router.apply(replace(MODEL, rules=()))
    await router.apply(replace(MODEL, advertised=()))
    running = asyncio.ensure_future(router.run())
    while host.conntrack.flows:
        await asyncio.sleep(0)
    assert host.conntrack.searches == searches + 1
    running.cancel()
    await asyncio.wait([running])


class WhileLooking(MemoryConntrack):
    """Something happens between the look and its end."""

    happens: Callable[[], Awaitable[None]]

    async def find(self, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
        found = await super().find(mark, mask, wanted)
        await self.happens()
        return found


@pytest.mark.parametrize("closes", [True, False])
async def test_ok__what_happens_during_a_look_counts(host, closes):
    host.conntrack = WhileLooking()
    router = host.router()
    await router.apply(replace(MODEL, rules=()))
    host.conntrack.flows = {SSH: 0x40000}
    host.conntrack.happens = router.close if closes else lambda: router.apply(MODEL)
    await router.end_flows()
    assert host.conntrack.flows, "the router is closed, or the flow is allowed again"


async def test_fail__flows_that_cannot_be_ended_are_a_health_item(host):
    router = host.router()
    await router.apply(MODEL)
    await router.end_flows()
    host.conntrack.refuse = "no flow table"
    await router.apply(replace(MODEL, rules=()))
    await router.end_flows()
    assert [(event.code, event.broken) for event in host.events] == [("flows-not-ended", True)]
    host.conntrack.refuse = ""
    await router.apply(MODEL)
    await router.end_flows()
    assert not host.events[-1].broken


async def test_ok__what_a_killed_run_left_goes_on_and_ends_with_the_next(host):
    before = deepcopy(host.state())
    await host.router().apply(MODEL)
    left = deepcopy(host.state())
    heir = host.router()
    heir.adopt()
    await heir.apply(MODEL)
    assert host.state() == left
    await heir.close()
    assert host.state() == before


def test_ok__inner_port_is_open_beside_the_port():
    assert replace(MODEL, inner_port=50000).udp_ports == (41641, 50000)
    assert MODEL.udp_ports == (41641,)
    assert replace(MODEL, wireguard_port=0).udp_ports == ()


SIDE = SideDevice("waypost-side", (ip_network("fd7a:115c:a1e0:b1a:0:7::/96"), ip_network("198.18.0.0/18")), (), 1)


async def test_ok__routes_of_side_devices_come_back_with_a_new_device(host):
    router = host.router()
    host.netlink.add_link(SIDE.name)
    await router.apply(replace(MODEL, devices=(SIDE,)))
    ways = {item for item in host.netlink.route_map.values() if item.interface == SIDE.name}
    assert {item.destination for item in ways} == set(SIDE.routes)
    assert host.netlink.link_map[SIDE.name].up
    assert host.sysctl.values["net/ipv4/ip_forward"] == "1"
    host.netlink.remove_link(SIDE.name)
    host.netlink.add_link(SIDE.name)
    await router.apply(replace(MODEL, devices=(replace(SIDE, serial=2),)))
    assert {item for item in host.netlink.route_map.values() if item.interface == SIDE.name} == ways
    host.netlink.remove_link(SIDE.name)
    await router.apply(MODEL)
    assert not any(item.interface == SIDE.name for item in host.netlink.route_map.values())
    await router.close()


async def test_ok__limits_come_change_and_go(host):
    router = host.router()
    shapes = (Shape((LAN,), 500, "lan"), Shape((PEER,), 800))
    assert await router.shape_traffic() == {}
    await router.apply(replace(MODEL, shapes=shapes))
    assert host.netlink.rates == {"waypost0": (500, 800)}
    assert await router.shape_traffic() == {"lan": QueueTraffic()}
    await router.apply(replace(MODEL, shapes=shapes[:1]))
    assert host.netlink.rates == {"waypost0": (500,)}
    await router.apply(MODEL)
    assert host.netlink.rates == {}
    await router.apply(replace(MODEL, shapes=shapes))
    await router.close()
    assert host.netlink.rates == {}
    assert await router.shape_traffic() == {}


async def test_ok__limits_count_on_until_they_change(host):
    router = host.router()
    shape, seen = Shape((LAN,), 500, "lan"), QueueTraffic(sent_bytes=1500, sent_packets=1)
    await router.apply(replace(MODEL, shapes=(shape,)))
    host.netlink.traffic["waypost0"][1] = seen
    await router.repair()
    await router.apply(replace(MODEL, shapes=(replace(shape, destinations=(LAN, PEER)),)))
    assert await router.shape_traffic() == {"lan": seen}, "the same limit, for one more place"
    await router.apply(replace(MODEL, shapes=(replace(shape, name="other"),)))
    assert await router.shape_traffic() == {"other": QueueTraffic()}
    host.netlink.rates.clear()
    host.netlink.traffic.clear()
    await router.repair()
    assert host.netlink.rates == {"waypost0": (500,)}, "put back when another program took it away"
    await router.close()


async def test_fail__a_kernel_that_cannot_limit_lets_all_else_go_on(host, monkeypatch):
    async def refuse(interface, rates):
        if rates:
            raise NetlinkError("No such file or directory")
        return True

    monkeypatch.setattr(host.netlink, "limit", refuse)
    router = host.router()
    await router.apply(replace(MODEL, shapes=(Shape((LAN,), 500),)))
    assert host.events[-1].code == "traffic-not-limited"
    assert host.events[-1].text
    await router.apply(MODEL)
    assert not host.events[-1].text
    await router.close()


async def test_fail__a_kernel_without_fair_queues_limits_plainly_and_says_so(host):
    host.netlink.fair = False
    router = host.router()
    await router.apply(replace(MODEL, shapes=(Shape((LAN,), 500),)))
    assert host.netlink.rates == {"waypost0": (500,)}
    said = host.events[-1]
    assert (said.code, said.severity) == ("limits-not-fair", Severity.LOW)
    assert "fq_codel" in said.text
    await router.apply(MODEL)
    await router.end_flows()
    assert not host.events[-1].broken
    await router.close()
