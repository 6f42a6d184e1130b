"""Names of hosts behind one-to-one translation, as the resolver's table gives them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from appliance.api import DnsSettings, NetmapChange, NodeInfo, PrefixTranslation
from appliance.proto.dns import reverse_name
from appliance.proto.dns.numbers import AAAA, NOERROR, NXDOMAIN, PTR, A
from plugins.magicdns.records import parse_record
from plugins.magicdns.rules import LocalNames
from plugins.magicdns.translated import TranslatedNetwork

PAIR = PrefixTranslation("192.168.1.0/24", "10.8.1.0/24")
SIX = PrefixTranslation("fd00:1::/64", "fd00:8::/64")
SELF = NodeInfo("n1", "gw.mesh.example", ("100.64.0.1",))
B = NodeInfo("n2", "B.mesh.example", ("100.64.0.2",), (PAIR.outside, SIX.outside), translations=(PAIR, SIX))
SECOND = NodeInfo("n3", "second.mesh.example", ("100.64.0.3",), translations=(PAIR,))
LIAR = NodeInfo(
    "n4", "liar.mesh.example", ("100.64.0.4",), translations=(PrefixTranslation("10.1.1.0/24", PAIR.outside),)
)
DNS = DnsSettings(routes={"mesh.example": ()}, domains=("mesh.example",), proxied=True)


@pytest.fixture
def names() -> LocalNames:
    found = LocalNames()
    found.set_control(DNS, DNS.domains)
    found.change(NetmapChange(full=True, self_node=SELF, changed=(B, SECOND, LIAR)))
    return found


def asked(names: LocalNames, name: str, qtype: int = A) -> tuple[int, list[str]] | None:
    found = names.lookup(name, qtype)
    return None if found is None else (found.rcode, [str(ip_address(each.data)) for each in found.answers])


def back(names: LocalNames, address: str) -> str:
    found = names.lookup(reverse_name(ip_address(address)), PTR)
    return found.answers[0].data.decode() if found is not None and found.answers else ""


def test_ok__the_outer_address_under_the_inner_ones_name(names: LocalNames) -> None:
    for name in ("192-168-1-10-via-b", "192-168-1-10-via-b.mesh.example"):
        assert asked(names, name) == (NOERROR, ["10.8.1.10"])
        assert asked(names, name, AAAA) == (NOERROR, [])
    assert asked(names, "fd00-1--10-via-b", AAAA) == (NOERROR, ["fd00:8::10"])
    assert asked(names, "192-168-2-10-via-b") is None, "no network of that site"
    assert asked(names, "192-168-1-10-via-b.other.example") is None
    assert asked(names, "192-168-1-10-via-nobody.mesh.example") == (NXDOMAIN, [])
    assert names.translated.networks()[:2] == (
        TranslatedNetwork("b", PAIR.inside, PAIR.outside, "192-168-1-1-via-b"),
        TranslatedNetwork("b", SIX.inside, SIX.outside, "fd00-1--1-via-b"),
    )


def test_ok__a_pair_of_routers_keeps_both_names(names: LocalNames) -> None:
    assert asked(names, "192-168-1-10-via-second") == (NOERROR, ["10.8.1.10"])
    names.change(NetmapChange(changed=(replace(B, routes=()), replace(SECOND, routes=(PAIR.outside,)))))
    assert asked(names, "192-168-1-10-via-b") == (NOERROR, ["10.8.1.10"])
    assert back(names, "10.8.1.10") == "\x17192-168-1-10-via-second\x04mesh\x07example\0"
    names.change(NetmapChange(removed=("n3",)))
    assert asked(names, "192-168-1-10-via-b.mesh.example") == (NXDOMAIN, []), "nobody serves it any more"


def test_ok__back_from_the_outer_address_unless_a_record_says_otherwise(names: LocalNames) -> None:
    assert back(names, "10.8.1.10") == "\x12192-168-1-10-via-b\x04mesh\x07example\0"
    assert back(names, "10.9.1.10") == ""
    names.set_records([parse_record("web.home A 10.8.1.10", "records")], short_names=True)
    assert back(names, "10.8.1.10") == "\x03web\x04home\0"


def test_ok__at_its_own_site_a_host_has_its_own_address(names: LocalNames) -> None:
    names.change(NetmapChange(self_node=replace(SELF, translations=(PAIR,))))
    assert asked(names, "192-168-1-10-via-gw") == (NOERROR, ["192.168.1.10"])
    assert asked(names, "192-168-1-10-via-b") == (NOERROR, ["192.168.1.10"]), "the other router of this site"


def test_fail__a_peer_names_only_what_it_serves(names: LocalNames) -> None:
    assert asked(names, "10-1-1-10-via-liar.mesh.example") == (NXDOMAIN, [])
    assert "liar" not in back(names, "10.8.1.10")
    assert "liar" not in {each.router for each in names.translated.networks()}
    names.change(NetmapChange(full=True, self_node=SELF))
    assert asked(names, "192-168-1-10-via-b.mesh.example") == (NXDOMAIN, [])
