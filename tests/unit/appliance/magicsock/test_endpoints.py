from ipaddress import ip_address

import pytest

from appliance.magicsock.endpoints import EndpointCache, OwnEndpoints
from appliance.magicsock.netcheck.report import Report
from appliance.types.addresses import AddrPort
from appliance.types.netmap import Endpoint, EndpointType

PORTS = (AddrPort("0.0.0.0", 41641), AddrPort("::", 41642))
GLOBAL = AddrPort("198.51.100.1", 5000)


def addresses(*texts):
    return tuple(map(ip_address, texts))


@pytest.fixture
def own():
    own = OwnEndpoints(lambda address: str(address) == "100.64.0.1")
    own.set_interfaces(addresses("192.168.1.5", "127.0.0.1", "2001:db8::5", "fe80::1", "100.64.0.1"), PORTS)
    return own


def listed(own, now=0.0):
    return [(str(e.addr_port), e.kind) for e in own.determine(now)]


def test_ok__interfaces_without_loopback_link_local_and_overlay(own):
    assert listed(own) == [("192.168.1.5:41641", EndpointType.LOCAL), ("[2001:db8::5]:41642", EndpointType.LOCAL)]


def test_ok__order_is_portmapped_stun_static_local(own):
    own.set_report(Report(global_v4=GLOBAL))
    own.set_port_mapped((AddrPort("198.51.100.1", 6000),))
    own.set_static((AddrPort("198.51.100.1", 7000), AddrPort("192.168.1.5", 41641)))
    assert listed(own) == [
        ("198.51.100.1:6000", EndpointType.PORTMAPPED),
        ("198.51.100.1:5000", EndpointType.STUN),
        ("198.51.100.1:7000", EndpointType.EXPLICIT),
        ("192.168.1.5:41641", EndpointType.EXPLICIT),
        ("[2001:db8::5]:41642", EndpointType.LOCAL),
    ]


def test_ok__guess_of_a_manual_forward_only_with_a_fixed_port_behind_hard_nat(own):
    own.set_report(Report(global_v4=GLOBAL, mapping_varies_by_dest_ip=True))
    assert EndpointType.STUN_LOCAL_PORT not in [kind for _, kind in listed(own)]
    own.set_fixed_port(True)
    assert ("198.51.100.1:41641", EndpointType.STUN_LOCAL_PORT) in listed(own)


def test_ok__vanished_mapping_stays_310_s(own):
    own.set_report(Report(global_v4=GLOBAL))
    own.determine(0.0)
    own.set_report(Report())
    assert ("198.51.100.1:5000", EndpointType.STUN) in listed(own, 310.0)
    assert ("198.51.100.1:5000", EndpointType.STUN) not in listed(own, 311.0)


def test_ok__another_network_voids_mappings(own):
    own.set_report(Report(global_v4=GLOBAL))
    own.determine(0.0)
    own.forget_mappings()
    assert "198.51.100.1:5000" not in [text for text, _ in listed(own, 1.0)]


def test_ok__cache_keeps_six_of_an_ip():
    cache = EndpointCache()
    for n in range(10):
        cache.saw([Endpoint(AddrPort("198.51.100.1", n + 1), EndpointType.STUN)], float(n))
    assert [e.addr_port.port for e in cache.held(10.0)] == [10, 9, 8, 7, 6, 5]


def test_ok__bound_socket_gives_its_address_alone(own):
    own.set_interfaces(addresses("192.168.1.5", "192.168.2.5"), (AddrPort("192.168.2.5", 41641),))
    assert listed(own) == [("192.168.2.5:41641", EndpointType.LOCAL)]


def test_ok__loopback_only_when_nothing_else(own):
    own.set_interfaces(addresses("127.0.0.1"), PORTS)
    assert listed(own) == [("127.0.0.1:41641", EndpointType.LOCAL)]


@pytest.mark.parametrize(
    ("texts", "v4", "v6"),
    [(["192.168.1.5"], True, False), (["127.0.0.1", "fe80::1"], False, False), (["2001:db8::1"], False, True),
     (["fd00::1"], False, True), (["fd7a:115c:a1e0::1"], False, False)],
)  # fmt: skip
def test_ok__families(own, texts, v4, v6):
    own.set_interfaces(addresses(*texts), PORTS)
    assert (own.families().v4, own.families().v6) == (v4, v6)
