"""Who leaves directly: a walk through the rules as a packet would take it, and the whole table on nftables' twin."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.ports.firewall import MemoryFirewall, render_change, render_create
from appliance.router.guard import render_guard
from appliance.router.model import Guard, RouterModel, Split
from appliance.router.split import split_chains, split_sets
from appliance.types.senders import parse_senders

MAC = "02:00:5e:00:53:01"


def split_of(hosts: tuple[str, ...] = (), not_hosts: tuple[str, ...] = ()) -> Split:
    return Split(parse_senders(hosts), parse_senders(not_hosts))


def way(split: Split, **packet: str) -> str:
    """The chain that judges a packet, whose fields (ip, ether, iifname) are given, toward the Internet."""
    rules = next(chain.rules for chain in split_chains("waypost0", split) if chain.name == "split")
    sets = {item.name: item.elements for item in split_sets(split)}
    version = "6" if "ip6" in packet else "4"
    for rule in rules:
        match rule.split():
            case [kind, "saddr", reference, "goto", chain]:
                if packet.get(kind) in sets[reference[1:]]:
                    return chain
            case ["meta", "nfproto", family, "goto", chain] if family == f"ipv{version}":
                return chain
            case ["iifname", "{", *names, "}", "goto", chain] if f'"{packet.get("iifname")}"' in names:
                return chain
            case ["goto", chain]:
                return chain
    raise AssertionError("no verdict")


@pytest.mark.parametrize(
    ("hosts", "not_hosts", "packet", "chain"),
    [
        (("192.168.1.7",), (), {"ip": "192.168.1.7"}, "kept"),
        (("192.168.1.7",), (), {"ip": "192.168.1.8"}, "direct"),
        (("192.168.1.7",), (), {"ip6": "2001:db8::8"}, "kept"),  # nobody can tell whose it is
        (("192.168.1.7", "2001:db8::7"), (), {"ip6": "2001:db8::8"}, "direct"),
        ((MAC,), (), {"ip6": "2001:db8::7", "ether": MAC}, "kept"),
        ((MAC,), (), {"ip6": "2001:db8::8", "ether": "02:00:5e:00:53:02"}, "direct"),
        (("eth2",), (), {"ip": "10.0.0.1", "iifname": "eth2"}, "kept"),
        (("eth2",), (), {"ip": "10.0.0.1", "iifname": "eth3"}, "direct"),
        ((), ("192.168.1.7",), {"ip": "192.168.1.7"}, "direct"),
        ((), ("192.168.1.7",), {"ip": "192.168.1.8"}, "kept"),
        ((MAC,), ("192.168.1.7",), {"ip": "192.168.1.7", "ether": MAC}, "direct"),
    ],
)
def test_ok__who_leaves_directly(
    hosts: tuple[str, ...], not_hosts: tuple[str, ...], packet: dict[str, str], chain: str
) -> None:
    assert way(split_of(hosts, not_hosts), **packet) == chain


async def test_ok__stands_on_the_twin_and_goes_again() -> None:
    firewall = MemoryFirewall()
    lan = (ip_network("192.168.1.0/24"),)
    plain = RouterModel(guard=Guard(near=lan))
    parted = RouterModel(guard=Guard(near=lan, split=split_of((MAC, "10.0.0.0/8", "eth2"), ("10.0.0.7",))))
    first, second = render_guard(plain), render_guard(parted)
    assert first is not None
    assert second is not None
    await firewall.apply(render_create(first))
    await firewall.apply(render_change(first, second))
    table = firewall.tables["inet", "waypost_guard"]
    assert {"split", "direct", "kept"} <= set(table.chains)
    assert list(table.sets["host_ether"]) == [MAC]
    await firewall.apply(render_change(second, first))
    assert "split" not in firewall.tables["inet", "waypost_guard"].chains


def test_ok__marked_packets_of_hosts_pass_only_where_each_is_judged() -> None:
    def passed(model: RouterModel) -> str:
        table = render_guard(model)
        assert table is not None
        return " ".join(next(chain.rules for chain in table.chains if chain.name == "pass"))

    assert "meta mark" not in passed(RouterModel(guard=Guard()))
    assert "meta mark" in passed(RouterModel(guard=Guard(split=split_of((MAC,)))))
