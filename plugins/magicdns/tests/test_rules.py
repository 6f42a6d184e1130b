"""The table of cases of names that are answered here (node-os spec 3.2)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.api import DnsSettings, DnsUpstream, NetmapChange, NodeInfo
from appliance.proto.dns.numbers import AAAA, ANY, AXFR, CNAME, MX, NOERROR, NOTIMP, NXDOMAIN, PTR, SOA, TXT, A
from plugins.magicdns.records import parse_record
from plugins.magicdns.rules import SERVICE_NAME, LocalNames

SELF = NodeInfo("n1", "gw.mesh.example", ("100.64.0.1", "fd7a:115c:a1e0::1"))
PEER = NodeInfo("n2", "Web.mesh.example", ("100.64.0.2", "fd7a:115c:a1e0::2"))
SIX = NodeInfo("n3", "six.mesh.example", ("fd7a:115c:a1e0::3",), capabilities=("dns-subdomain-resolve",))
DNS = DnsSettings(
    routes={"mesh.example": (), "64.100.in-addr.arpa": (), "corp.example": (DnsUpstream("10.0.0.53"),)},
    domains=("mesh.example",),
    proxied=True,
    records=(("extra.corp.example", "", "10.9.9.9"), ("bad", "A", "x"), ("t.corp.example", "TXT", "x")),
)


@pytest.fixture
def names() -> LocalNames:
    found = LocalNames()
    records = ("nas.home A 192.168.1.9", "files.home CNAME nas.home", "out.home CNAME www.example", "t.home TXT a b")
    found.set_records([parse_record(text, "records") for text in records], short_names=True)
    found.set_control(DNS, DNS.domains)
    found.change(NetmapChange(full=True, self_node=SELF, changed=(PEER, SIX)))
    return found


def asked(names: LocalNames, name: str, qtype: int = A) -> tuple[int, list[str]] | None:
    found = names.lookup(name, qtype)
    if found is None:
        return None
    return found.rcode, [
        str(ip_address(each.data)) if each.rtype in (A, AAAA) else each.data.hex() for each in found.answers
    ]


@pytest.mark.parametrize(
    ("name", "qtype", "answer"),
    [
        ("web.mesh.example", A, (NOERROR, ["100.64.0.2"])),
        ("web", A, (NOERROR, ["100.64.0.2"])),
        ("web.mesh.example", AAAA, (NOERROR, [])),
        ("six.mesh.example", AAAA, (NOERROR, ["fd7a:115c:a1e0::3"])),
        ("a.b.six.mesh.example", AAAA, (NOERROR, ["fd7a:115c:a1e0::3"])),
        ("a.web.mesh.example", A, (NXDOMAIN, [])),
        ("web.mesh.example", ANY, (NOERROR, ["100.64.0.2"])),
        ("web.mesh.example", MX, (NOERROR, [])),
        ("web.mesh.example", SOA, (NOTIMP, [])),
        ("none.mesh.example", A, (NXDOMAIN, [])),
        ("x.onion", A, (NXDOMAIN, [])),
        ("x.onion", PTR, None),
        ("localhost", A, (NOERROR, ["127.0.0.1"])),
        ("localhost", AAAA, (NOERROR, ["::1"])),
        ("www.example", A, None),
        ("other", A, None),
        ("x.corp.example", A, None),
        ("extra.corp.example", A, (NOERROR, ["10.9.9.9"])),
        ("nas.home", A, (NOERROR, ["192.168.1.9"])),
        ("t.home", TXT, (NOERROR, ["03612062"])),
        (SERVICE_NAME, A, (NOERROR, ["100.100.100.100"])),
        (SERVICE_NAME, AAAA, (NOERROR, ["fd7a:115c:a1e0::53"])),
        ("1-2-3-4-via-0xff", AAAA, (NOERROR, ["fd7a:115c:a1e0:b1a:0:ff:102:304"])),
        ("10-1-1-16-via-7.mesh.example", AAAA, (NOERROR, ["fd7a:115c:a1e0:b1a:0:7:a01:110"])),
        ("10-1-1-16-via-010.x.ts.net", AAAA, (NOERROR, ["fd7a:115c:a1e0:b1a:0:8:a01:110"])),
        ("10-1-1-16-via-7.ts.net", AAAA, None),
        ("10-1-1-16-via-7", A, (NOERROR, [])),
        ("10-1-1-16-via-7", TXT, None),
        ("10-1-1-via-7", AAAA, None),
        ("10-1-1-16-via-4294967296", AAAA, None),
        ("2.0.64.100.in-addr.arpa", AXFR, (NXDOMAIN, [])),
        ("9.0.64.100.in-addr.arpa", PTR, (NXDOMAIN, [])),
        ("9.0.0.10.in-addr.arpa", PTR, None),
        ("lb._dns-sd._udp.9.0.0.10.in-addr.arpa", PTR, (NXDOMAIN, [])),
        ("3.0.64.100.in-addr.arpa.invalid", PTR, (NXDOMAIN, [])),
    ],
)  # fmt: skip
def test_ok__cases(names: LocalNames, name: str, qtype: int, answer: tuple[int, list[str]] | None) -> None:
    assert asked(names, name, qtype) == answer


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("100.64.0.2", "web.mesh.example"),
        ("fd7a:115c:a1e0::2", "web.mesh.example"),
        ("fd7a:115c:a1e0:ab12:4843:cd96:6240:2", "web.mesh.example"),
        ("100.100.100.100", SERVICE_NAME),
        ("fd7a:115c:a1e0:b1a:0:ff:102:304", "1-2-3-4-via-255.mesh.example"),
        ("192.168.1.9", "nas.home"),
    ],
)
def test_ok__reverse(names: LocalNames, address: str, name: str) -> None:
    found = names.lookup(ip_address(address).reverse_pointer, PTR)
    assert found is not None
    assert found.answers[0].data == b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def test_ok__aliases(names: LocalNames) -> None:
    inside, outside = names.lookup("files.home", A), names.lookup("out.home", A)
    assert inside is not None
    assert (inside.target, inside.answers[0].rtype) == ("nas.home", CNAME)
    assert outside is not None
    assert outside.target == "www.example"


def test_ok__negative_answers_name_their_zone(names: LocalNames) -> None:
    missing = names.lookup("none.mesh.example", A)
    assert missing is not None
    (soa,) = missing.authority(1234)
    assert (soa.owner, soa.rtype, soa.ttl) == ("mesh.example", SOA, 10)
    assert soa.data.endswith((1234).to_bytes(4, "big") + (10).to_bytes(4, "big") * 4)
    onion = names.lookup("x.onion", A)
    assert onion is not None
    assert onion.authority(1234) == ()


def test_ok__nodes_come_change_and_go(names: LocalNames) -> None:
    names.change(NetmapChange(changed=(NodeInfo("n2", "www.mesh.example", ("100.64.0.9",)),)))
    assert asked(names, "web.mesh.example") == (NXDOMAIN, [])
    assert asked(names, "www.mesh.example") == (NOERROR, ["100.64.0.9"])
    assert names.name_of(ip_address("100.64.0.2")) == ""
    names.change(NetmapChange(removed=("n2", "unknown")))
    assert asked(names, "www.mesh.example") == (NXDOMAIN, [])
    names.change(NetmapChange(full=True))
    assert len(names) == 0


def test_ok__a_node_that_wants_it_is_told_of_ipv6(names: LocalNames) -> None:
    names.change(NetmapChange(self_node=NodeInfo("n1", "gw", ("100.64.0.1",), capabilities=("magicdns-aaaa",))))
    assert asked(names, "web.mesh.example", AAAA) == (NOERROR, ["fd7a:115c:a1e0::2"])


def test_ok__records_of_control_that_are_none(names: LocalNames) -> None:
    assert names.rejected == ("bad",)
    assert names.zones == ("64.100.in-addr.arpa", "mesh.example")


def test_ok__without_short_names(names: LocalNames) -> None:
    names.set_records([], short_names=False)
    assert asked(names, "web") is None
