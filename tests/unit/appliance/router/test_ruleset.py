"""The nftables table of a model, run on the twin."""

from dataclasses import replace
from ipaddress import ip_network

from appliance.ports.firewall import MemoryFirewall, NftChain, NftSet, render_change, render_create
from appliance.router.model import RouterModel, Shape, SideDevice
from appliance.router.ruleset import compile_filter, render_table
from appliance.types.addresses import AddrPort
from appliance.types.netmap import FilterRule, PortRange

MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    advertised=(ip_network("10.0.0.0/8"),),
    rules=(FilterRule(("*",), (PortRange("*"),)),),
    peerapi=(AddrPort("100.64.0.1", 5555), AddrPort("fd7a:115c:a1e0::1", 6666)),
    wireguard_port=41641,
)


def chain(table, name):
    return next((item.rules for item in table.chains if item.name == name), None)


def elements(table, name):
    return next(item.elements for item in table.sets if item.name == name)


def compiled(model):
    return render_table(model, compile_filter(model))


def many(count):
    return tuple(FilterRule((f"100.64.1.{i}",), (PortRange("10.0.0.0/8", 80 + i, 80 + i),)) for i in range(count))


async def test_ok__documents_run_and_an_empty_model_denies():
    table = compiled(RouterModel())
    await MemoryFirewall().apply(render_create(table))
    assert elements(table, "local4") == {}
    assert chain(table, "acl4")[-1] == "counter drop"
    assert elements(table, "src4") == {}


async def test_ok__lan_hosts_are_not_redirected_past_a_gateway() -> None:
    table = compiled(MODEL)
    (host_out,) = (chain for chain in table.chains if chain.name == "host_out")
    assert {"icmp type redirect drop", "icmpv6 type nd-redirect drop"} <= set(host_out.rules)


def test_ok__peer_api_is_open_even_with_shields_up():
    table = compiled(replace(MODEL, shields_up=True))
    assert "ip daddr 100.64.0.1 tcp dport 5555 accept" in chain(table, "acl4")
    assert "ip6 daddr fd7a:115c:a1e0::1 tcp dport 6666 accept" in chain(table, "acl6")
    assert elements(table, "flat4_0") == {}


async def test_ok__refused_connections_are_shown():
    table = compiled(replace(MODEL, log_group=7))
    await MemoryFirewall().apply(render_create(table))
    assert chain(table, "acl")[-1] == chain(table, "acl4")[-1] == "goto refused"
    assert chain(table, "acl4")[0] == "ip daddr != @local4 goto refused"
    assert "log group 7" in chain(table, "refused")[0]
    assert chain(table, "refused")[-1] == "counter drop"
    assert chain(compiled(MODEL), "refused") is None


async def test_ok__switches():
    table = compiled(replace(MODEL, snat=False, stateful=True, drop_cgnat=False, wireguard_port=0))
    assert chain(table, "nat_out") is None
    assert chain(table, "through")[-1] == 'oifname "waypost0" counter drop'
    assert chain(table, "host_in") == ('iifname "lo" accept', 'iifname "waypost0" accept')


async def test_ok__extra_chains_come_along():
    extra = (NftSet("more", "ipv4_addr", {"1.2.3.4": ""}), NftChain("slot", ("ip saddr @more accept",)))
    table = compiled(replace(MODEL, extra=extra))
    await MemoryFirewall().apply(render_create(table))
    assert chain(table, "slot") == ("ip saddr @more accept",)


async def test_ok__a_small_change_is_a_small_document():
    before = compiled(replace(MODEL, rules=many(100)))
    after = compiled(replace(MODEL, rules=many(101)))
    document = render_change(before, after)
    assert render_change(before, before) == ""
    assert document.count("\n") == 2
    twin = MemoryFirewall()
    await twin.apply(render_create(before))
    await twin.apply(document)
    fresh = MemoryFirewall()
    await fresh.apply(render_create(after))
    assert twin.tables["inet", "waypost"].sets == fresh.tables["inet", "waypost"].sets


async def test_ok__large_classes_get_their_own_chain_and_leave_with_it():
    wide = FilterRule((*(f"100.64.{i}.1" for i in range(50)), "100.65.0.0/24"), (PortRange("10.0.0.0/8", 80, 80),))
    before = compiled(replace(MODEL, rules=(wide,)))
    after = compiled(replace(MODEL, rules=()))
    assert len(elements(before, "one_src4")) == 50
    assert list(elements(before, "src4")) == ["100.65.0.0/24"]
    assert len({*elements(before, "one_src4").values(), *elements(before, "src4").values()}) == 1
    twin = MemoryFirewall()
    await twin.apply(render_create(before))
    await twin.apply(render_change(before, after))
    table = twin.tables["inet", "waypost"]
    assert not [name for name in (*table.chains, *table.sets) if name.startswith(("c4_", "dst4_", "icmp4_"))]
    await twin.apply(render_change(after, before))


async def test_ok__another_interface_or_hook_changes_the_rules():
    before = compiled(MODEL)
    after = compiled(replace(MODEL, interface="tun7"))
    assert 'iifname "tun7" jump acl' in render_change(before, after)


async def test_ok__an_exit_hides_senders_also_where_the_site_does_not():
    offering = replace(MODEL, snat=False, advertised=(*MODEL.advertised, ip_network("0.0.0.0/0"), ip_network("::/0")))
    table = compiled(offering)
    await MemoryFirewall().apply(render_create(table))
    assert elements(table, "site4") == {"10.0.0.0/8": ""}
    assert elements(table, "site6") == {}
    assert [rule.partition(" == ")[2] for rule in chain(table, "nat_out")] == [
        "0x00040000 ip daddr != @site4 masquerade",
        "0x00040000 ip6 daddr != @site6 masquerade",
    ]


SIDE = SideDevice("waypost-side", (ip_network("192.0.2.0/24"),), (ip_network("198.18.0.0/18"),), 1)


async def test_ok__a_side_device_sends_only_answers_into_the_tunnel() -> None:
    table = compiled(replace(MODEL, devices=(SIDE,), snat=False))
    await MemoryFirewall().apply(render_create(table))
    through = chain(table, "through")
    assert 'iifname "waypost-side" accept' in through
    answers = 'oifname "waypost0" iifname "waypost-side" ct state != { established, related } counter drop'
    assert through.index(answers) < through.index('iifname "waypost-side" accept')
    assert chain(table, "nat_out") == ('oifname "waypost-side" accept', "ip saddr 198.18.0.0/18 masquerade")


async def test_ok__prefixes_are_renamed_both_ways() -> None:
    inside, outside = ip_network("192.168.1.0/24"), ip_network("10.7.1.0/24")
    table = compiled(replace(MODEL, translations=((inside, outside),)))
    await MemoryFirewall().apply(render_create(table))
    assert chain(table, "nat_in") == (f'iifname "waypost0" ip daddr {outside} dnat ip prefix to {inside}',)
    assert chain(table, "nat_out")[0] == f'oifname "waypost0" ip saddr {inside} snat ip prefix to {outside}'
    assert chain(compiled(MODEL), "nat_in") is None


async def test_ok__what_is_limited_gets_its_class() -> None:
    shapes = (Shape((ip_network("10.8.1.0/24"), ip_network("fd00::/64")), 500), Shape((ip_network("10.0.0.0/8"),), 9))
    table = compiled(replace(MODEL, shapes=shapes))
    await MemoryFirewall().apply(render_create(table))
    v4, v6, second = chain(table, "shape")
    assert v4.startswith('oifname "waypost0" ip daddr {')
    assert v4.endswith("meta priority set 5757:1 accept")
    assert v6.endswith("meta priority set 5757:1 accept")
    assert second.endswith("meta priority set 5757:2 accept")
    assert chain(compiled(MODEL), "shape") is None
