"""Which addresses of a region are dialled, and by which TLS rules (derp spec 5.3, 7.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.magicsock.derp.dialling import dial_region, host_header, hosts_of, relays_of, tls_policy
from appliance.ports.clock import VirtualClock
from appliance.ports.streams import MemoryDialer, MemoryStream, TlsPolicy
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpNode, DerpRegion

NAMED = DerpNode("1a", RegionId(1), "derp.example.com")
ADDRESS = DerpNode("1b", RegionId(1), "192.0.2.10")
PIN = "ab" * 32


@pytest.mark.parametrize(
    ("node", "host", "policy"),
    [
        (NAMED, "derp.example.com", TlsPolicy("derp.example.com")),
        (NAMED, "192.0.2.1", TlsPolicy("derp.example.com")),
        (
            replace(NAMED, cert_name="front.example"),
            "x",
            TlsPolicy("derp.example.com", verify_name="front.example"),
        ),
        (replace(NAMED, cert_name=f"sha256-raw:{PIN}"), "x", TlsPolicy("derp.example.com", pin_sha256=PIN)),
        (replace(ADDRESS, cert_name=f"sha256-raw:{PIN}"), "192.0.2.10", TlsPolicy("", pin_sha256=PIN)),
        (
            replace(ADDRESS, cert_name=f"sha256-raw:{PIN}", insecure_for_tests=True),
            "192.0.2.10",
            TlsPolicy("", pin_sha256=PIN),
        ),
        (replace(NAMED, insecure_for_tests=True), "x", TlsPolicy("derp.example.com", verify=False)),
        (ADDRESS, "192.0.2.10", TlsPolicy("")),
        (ADDRESS, "2001:db8::1", TlsPolicy("", verify_name="192.0.2.10")),
        (replace(NAMED, host_name="", cert_name="only.example"), "192.0.2.1", TlsPolicy("only.example")),
    ],
)
def test_ok__tls_rules(node: DerpNode, host: str, policy: TlsPolicy) -> None:
    assert tls_policy(node, host) == policy


def test_ok__hosts() -> None:
    assert hosts_of(NAMED) == ["derp.example.com"]
    assert hosts_of(ADDRESS) == ["192.0.2.10"]
    assert hosts_of(replace(NAMED, ipv4="192.0.2.1", ipv6="2001:db8::1")) == ["192.0.2.1", "2001:db8::1"]
    assert hosts_of(replace(NAMED, ipv4="192.0.2.1")) == ["192.0.2.1", "derp.example.com"]
    assert hosts_of(replace(NAMED, ipv4="none", ipv6="none")) == []


def test_ok__host_header_names_other_ports() -> None:
    assert host_header(NAMED) == "derp.example.com"
    assert host_header(replace(NAMED, derp_port=443)) == "derp.example.com"
    assert host_header(replace(NAMED, derp_port=8443)) == "derp.example.com:8443"
    assert host_header(replace(NAMED, host_name="2001:db8::1", derp_port=8443)) == "[2001:db8::1]:8443"


async def quiet(stream: MemoryStream) -> None:
    return None


async def test_ok__second_node_when_the_first_is_down() -> None:
    region = DerpRegion(
        RegionId(1), "a", "A", (replace(NAMED, stun_only=True), replace(NAMED, name="1c", ipv4="192.0.2.3"), ADDRESS)
    )
    assert [node.name for node in relays_of(region)] == ["1c", "1b"]
    dialer = MemoryDialer()
    dialer.servers["192.0.2.10", 443] = quiet
    reached = await dial_region(dialer, VirtualClock(), region)
    assert (reached.node, reached.is_first) == (ADDRESS, False)
    assert [host for host, _, _ in dialer.dialled] == ["192.0.2.3", "derp.example.com", "192.0.2.10"]


async def test_fail__nothing_answers() -> None:
    with pytest.raises(ConnectionError, match=r"1b: nothing listens on 192\.0\.2\.10:443"):
        await dial_region(MemoryDialer(), VirtualClock(), DerpRegion(RegionId(1), "a", "A", (ADDRESS,)))
    with pytest.raises(ConnectionError, match="no relay"):
        await dial_region(MemoryDialer(), VirtualClock(), DerpRegion(RegionId(1), "a", "A"))
