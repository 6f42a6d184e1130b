from __future__ import annotations

from typing import Any

import pytest

from appliance.api import SettingError
from plugins.magicdns.config import MagicDnsConfig


def test_ok__all_settings() -> None:
    MagicDnsConfig(
        os="file",
        upstreams=("9.9.9.9",),
        routes={"corp.example": ("10.0.0.53",), ".": ("9.9.9.10",)},
        records=("nas.home A 192.168.1.9", "n.home CNAME nas.home"),
        search=("home.arpa",),
        lan_addresses=("192.168.1.1",),
        lan_clients=("192.168.20.0/24",),
        rebind_allow=("fritz.box",),
        ca_file="/etc/ca.pem",
    )


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("os", {"os": "windows"}),
        ("upstreams[0]", {"upstreams": ("x",)}),
        ("routes.corp..x", {"routes": {"corp..x": ()}}),
        ("routes.corp[0]", {"routes": {"corp": ("x",)}}),
        ("records[1]", {"records": ("a A 192.0.2.1", "a A")}),
        ("records[0]", {"records": ("a A 2001:db8::1",)}),
        ("records[0]", {"records": ("a MX mail",)}),
        ("search[0]", {"search": ("a..b",)}),
        ("rebind_allow[0]", {"rebind_allow": ("",)}),
        ("lan_addresses[0]", {"lan_addresses": ("eth0",)}),
        ("lan_clients[0]", {"lan_clients": ("192.168.1.5/24",)}),
        ("port", {"port": 0}),
        ("cache_entries", {"cache_entries": -1}),
        ("serve_stale_s", {"serve_stale_s": 10_000_000}),
        ("ca_file", {"ca_file": "ca.pem"}),
        ("search", {"search": ("a",) * 1001}),
    ],
)
def test_fail__wrong_setting_is_named_with_its_mend(key: str, setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        MagicDnsConfig(**setting)
    assert caught.value.key == key
    assert caught.value.mend
