import pytest

from appliance.api import SettingError
from plugins.peer_relay.config import MAX_STATIC, PeerRelayConfig


def test_ok__endpoints_are_kept_in_normal_form():
    config = PeerRelayConfig(static_endpoints=("203.0.113.5:41642", "[2001:DB8:0::5]:7"))
    assert config.static_endpoints == ("203.0.113.5:41642", "[2001:db8::5]:7")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"port": 70000}, "port"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"max_sessions_per_node": 0}, "max_sessions_per_node"),
        ({"static_endpoints": ("203.0.113.5",)}, "static_endpoints[0]"),
        ({"static_endpoints": ("203.0.113.5:1", "127.0.0.1:1")}, "static_endpoints[1]"),
        ({"static_endpoints": ("203.0.113.5:0",)}, "static_endpoints[0]"),
        ({"static_endpoints": ("203.0.113.5:1",) * (MAX_STATIC + 1)}, "static_endpoints"),
    ],
)
def test_fail__a_wrong_setting_is_named(settings, key):
    with pytest.raises(SettingError) as found:
        PeerRelayConfig(**settings)
    assert found.value.key == key
    assert found.value.mend
