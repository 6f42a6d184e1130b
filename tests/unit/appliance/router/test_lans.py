"""Connected LANs against routes into the tunnel."""

from ipaddress import ip_interface, ip_network

from appliance.router.lans import ExitUse, connected, share_out

HOST = (ip_interface("192.168.1.5/24"), ip_interface("203.0.113.9/32"), ip_interface("fd01::5/64"))
LAN, LAN6 = ip_network("192.168.1.0/24"), ip_network("fd01::/64")
ALL4, ALL6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def test_ok__single_addresses_are_no_lans():
    assert connected(HOST) == (LAN, LAN6)


def test_ok__a_route_over_the_lan_leaves_the_lan_to_the_host():
    wide, other = ip_network("192.168.0.0/16"), ip_network("10.1.0.0/16")
    assert share_out([wide, other], HOST) == ((wide, other), (LAN,))


def test_ok__a_route_equal_to_the_lan_is_not_taken():
    assert share_out([LAN], HOST) == ((), (LAN,))


def test_ok__a_part_of_the_lan_may_go_into_the_tunnel():
    part = ip_network("192.168.1.128/25")
    assert share_out([part], HOST) == ((part,), ())


def test_ok__exit_takes_the_lan_in_unless_it_may_stay():
    assert share_out([ALL4, ALL6], HOST, ExitUse.ALL) == ((ALL4, ALL6, LAN, LAN6), ())
    assert share_out([ALL4, ALL6], HOST, ExitUse.BESIDE_LAN) == ((ALL4, ALL6), (LAN, LAN6))
