"""Destinations open from the tunnel (node-os spec 1.4, steps 1 and 2)."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from appliance.router.locals import local_destinations
from appliance.router.model import RouterModel
from appliance.router.ranges import covers

HOST = (ip_interface("192.168.1.5/24"), ip_interface("203.0.113.9/24"))


def reachable(model, text):
    address = ip_address(text)
    return covers(local_destinations(model, address.version), int(address))


def test_ok__own_addresses_and_advertised_routes_only():
    model = RouterModel(addresses=(ip_network("100.64.0.1/32"),), advertised=(ip_network("10.1.0.0/16"),))
    assert reachable(model, "100.64.0.1")
    assert reachable(model, "10.1.2.3")
    assert not reachable(model, "100.64.0.2")
    assert not reachable(model, "10.2.0.1")
    assert not reachable(model, "fd00::1")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("203.0.113.9", True),  # the host's own public address
        ("203.0.113.10", False),  # its LAN
        ("192.168.1.5", False),
        ("10.9.9.9", False),
        ("100.99.0.1", False),
        ("169.254.1.1", False),
        ("224.0.0.1", False),
    ],
)
def test_ok__exit_opens_the_public_internet_alone(address, expected):
    model = RouterModel(advertised=(ip_network("0.0.0.0/0"),), host_addresses=HOST)
    assert reachable(model, address) is expected


def test_ok__exit_beside_an_advertised_lan():
    model = RouterModel(advertised=(ip_network("0.0.0.0/0"), ip_network("192.168.1.0/24")), host_addresses=HOST)
    assert reachable(model, "192.168.1.77")


def test_ok__multicast_and_link_local_never():
    model = RouterModel(advertised=(ip_network("128.0.0.0/1"), ip_network("8000::/1")))
    assert not reachable(model, "224.0.0.251")
    assert not reachable(model, "169.254.3.3")
    assert reachable(model, "169.254.169.254")
    assert not reachable(model, "fe80::1")
    assert not reachable(model, "ff02::1")
