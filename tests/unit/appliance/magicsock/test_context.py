from ipaddress import ip_address

import pytest

from appliance.types.addresses import AddrPort


@pytest.mark.parametrize(
    "endpoint",
    [("192.0.2.1", 0), ("127.0.0.1", 1), ("::1", 1), ("fe80::1", 1), ("224.0.0.1", 1), ("0.0.0.0", 1), ("::", 1),
     ("255.255.255.255", 1), ("fd7a:115c:a1e0::5", 1), ("nonsense", 1)],
)  # fmt: skip
def test_fail__addresses_at_which_nobody_is_reached(rig, endpoint):
    assert not rig.context.acceptable(AddrPort(*endpoint))


@pytest.mark.parametrize("ip", ["192.0.2.1", "10.0.0.1", "100.64.9.9", "2001:db8::1", "fd00::1", "169.254.3.3"])
def test_ok__addresses_at_which_somebody_may_be(rig, ip):
    assert rig.context.acceptable(AddrPort(ip, 41641))


def test_ok__overlay_addresses_of_the_netmap_are_refused_while_held(rig):
    address = ip_address("100.64.0.7")
    rig.context.add_overlay([address, address])
    rig.context.remove_overlay([address])
    assert not rig.context.acceptable(AddrPort("100.64.0.7", 1))
    rig.context.remove_overlay([address])
    assert rig.context.acceptable(AddrPort("100.64.0.7", 1))
