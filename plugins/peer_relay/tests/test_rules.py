from appliance.types.addresses import AddrPort
from plugins.peer_relay.rules import MAX_ADDRESSES, offered_addresses

PORTS = (AddrPort("0.0.0.0", 41642), AddrPort("::", 41642))


def test_ok__static_first_then_stun_then_own():
    found = offered_addresses(
        ["203.0.113.5:99"], [AddrPort("198.51.100.1", 5000)], ["192.168.1.2", "2001:db8::2"], PORTS
    )
    assert list(map(str, found)) == [
        "203.0.113.5:99",
        "198.51.100.1:5000",
        "192.168.1.2:41642",
        "[2001:db8::2]:41642",
    ]


def test_ok__a_mapping_that_varies_adds_the_forwarded_port():
    mapped = [AddrPort("198.51.100.1", 5000), AddrPort("198.51.100.1", 5001)]
    assert AddrPort("198.51.100.1", 41642) in offered_addresses([], mapped, [], PORTS)
    assert AddrPort("198.51.100.1", 41642) not in offered_addresses([], mapped[:1] * 2, [], PORTS)


def test_ok__bounded_and_each_once():
    own = [f"192.168.1.{number}" for number in range(40)]
    assert len(offered_addresses([], [], own + own, PORTS)) == MAX_ADDRESSES
    assert offered_addresses([], [], ["2001:db8::2"], PORTS[:1]) == (), "no port of that IP version"
