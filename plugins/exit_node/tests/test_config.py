from __future__ import annotations

from typing import Any

import pytest

from appliance.api import Location
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.errors import ExitSettingError


@pytest.mark.parametrize("use", ["", "auto", "paris", "paris.mesh.example.", "100.64.0.7", "fd7a:115c:a1e0::7", "n7K"])
def test_ok__ways_to_name_an_exit(use: str) -> None:
    assert ExitNodeConfig(use=f" {use} ").use == use.rstrip(".")


@pytest.mark.parametrize(
    ("values", "key", "mend"),
    [
        ({"use": "a b"}, "use", "waypost exit list"),
        ({"use": "-x"}, "use", "waypost exit list"),
        ({"use": "paris", "advertise": True}, "use", "waypost exit off"),
        ({"site": True}, "site", "--site"),
        ({"use": "paris", "gateway_direct": True}, "gateway_direct", "--site --gateway-direct"),
        ({"regions": ("fra", "no region")}, "regions[1]", "waypost netcheck"),
        ({"regions": ("r",) * 65}, "regions", "fewer"),
        ({"hosts": ("10.0.0.1",)}, "hosts", "--site"),
        ({"use": "paris", "site": True, "hosts": ("eth1", "10.0.0.1/8")}, "hosts[1]", "192.168.1.0/26"),
        ({"use": "paris", "site": True, "not_hosts": ("a b",)}, "not_hosts[0]", "eth1"),
        ({"use": "paris", "site": True, "hosts": ("10.0.0.1",) * 257}, "hosts", "prefixes"),
        ({"location": Location(country_code="D E")}, "location.country_code", "DE"),
        ({"location": Location(latitude=91.0)}, "location", "degrees"),
        ({"location": Location(city="x" * 101)}, "location", "100"),
        ({"location": Location(priority=-1)}, "location.priority", "65535"),
        ({"uplink": "lo"}, "uplink", "ip link"),
        ({"uplink": "not a link"}, "uplink", "ip link"),
        ({"uplink": "socks5://ann:secret@192.0.2.9"}, "uplink", "uplink_credentials"),
        ({"uplink": "wg0", "uplink_credentials": "/etc/proxy"}, "uplink_credentials", "proxy"),
        ({"uplink": "http://a", "uplink_credentials": "proxy"}, "uplink_credentials", "from /"),
        ({"uplink_resolvers": ("10.64.0.1",)}, "uplink_resolvers", "--uplink"),
        ({"uplink": "wg0", "uplink_resolvers": ("dns.example",)}, "uplink_resolvers[0]", "10.64.0.1"),
        ({"direct": ("203.0.113.1", "example.org")}, "direct[1]", "198.51.100.0/24"),
        ({"direct": ("0.0.0.0/0",)}, "direct[0]", "waypost exit off"),
        ({"direct": ("100.64.0.0/16",)}, "direct[0]", "Internet"),
        ({"direct": ("192.0.2.1",) * 257}, "direct", "prefixes"),
    ],
)
def test_fail__wrong_settings_name_key_and_mend(values: dict[str, Any], key: str, mend: str) -> None:
    with pytest.raises(ExitSettingError) as caught:
        ExitNodeConfig(**values)
    assert caught.value.key == key
    assert mend in caught.value.mend


def test_ok__destinations_in_their_normal_form() -> None:
    assert ExitNodeConfig(direct=(" 198.51.100.7", "2001:DB8::/32")).direct == ("198.51.100.7/32", "2001:db8::/32")
