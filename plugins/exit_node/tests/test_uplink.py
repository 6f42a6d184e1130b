from __future__ import annotations

from appliance.api import AttachedPrefix, EgressUplink
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.proxies import ForwarderPlaces, Proxy
from plugins.exit_node.uplink import is_there, no_udp, proxy_of, uplink_of

CONFIG = ExitNodeConfig(advertise=True, uplink="wg0", uplink_resolvers=("10.64.0.1", "fd64::1"))
BEHIND_PROXY = ExitNodeConfig(advertise=True, uplink="socks5://192.0.2.9")
NOWHERE = ForwarderPlaces()


def test_ok__only_an_exit_has_one() -> None:
    assert uplink_of(CONFIG, NOWHERE) == EgressUplink("wg0", resolvers=("10.64.0.1:53", "[fd64::1]:53"))
    assert uplink_of(ExitNodeConfig(uplink="wg0"), NOWHERE) is None
    assert uplink_of(ExitNodeConfig(advertise=True), NOWHERE) is None


def test_ok__behind_a_proxy_nothing_leaves_without_the_forwarder() -> None:
    assert uplink_of(BEHIND_PROXY, NOWHERE) == EgressUplink()
    places = ForwarderPlaces(4000, ("127.0.0.1:4001",))
    assert uplink_of(BEHIND_PROXY, places) == EgressUplink(port=4000, resolvers=("127.0.0.1:4001",))
    assert proxy_of(BEHIND_PROXY) == Proxy(is_socks=True, host="192.0.2.9", port=1080)
    assert proxy_of(CONFIG) is None
    assert proxy_of(ExitNodeConfig(uplink="http://proxy.example")) is None


def test_ok__udp_goes_on_by_a_link_and_by_proxies_that_carry_it() -> None:
    carried = ForwarderPlaces(4000, udp_port=4001)
    assert uplink_of(BEHIND_PROXY, carried) == EgressUplink(port=4000, udp_port=4001)
    assert no_udp(BEHIND_PROXY, carried) == no_udp(CONFIG, NOWHERE) == no_udp(ExitNodeConfig(), NOWHERE) == ""
    assert no_udp(BEHIND_PROXY, ForwarderPlaces(4000, no_udp="refused")) == "refused"
    assert "not asked" in no_udp(BEHIND_PROXY, NOWHERE)


def test_ok__whether_it_is_there() -> None:
    here = AttachedPrefix("10.64.0.0/24", "wg0", "10.64.0.2")
    assert is_there(CONFIG, (AttachedPrefix("192.168.1.0/24", "eth0"), here), NOWHERE)
    assert not is_there(CONFIG, (AttachedPrefix("10.64.0.0/24", "wg0", "10.64.0.2", up=False),), NOWHERE)
    assert not is_there(CONFIG, (AttachedPrefix("192.168.1.0/24", "eth0"),), NOWHERE)
    assert is_there(BEHIND_PROXY, (), ForwarderPlaces(4000))
    assert not is_there(BEHIND_PROXY, (), ForwarderPlaces(4000, answers=False))
    assert not is_there(BEHIND_PROXY, (), NOWHERE)
