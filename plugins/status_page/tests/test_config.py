from __future__ import annotations

import pytest

from appliance.api import SettingError
from plugins.status_page.config import MAX_HOSTS, StatusPageConfig


def test_ok__defaults_and_normal_hosts() -> None:
    assert StatusPageConfig().port == 5280
    assert StatusPageConfig(hosts=("Gateway.Example.",)).hosts == ("gateway.example",)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("port", {"port": 0}),
        ("port", {"port": 65536}),
        ("session_hours", {"session_hours": 0}),
        ("max_peers", {"max_peers": 1001}),
        ("hosts[0]", {"hosts": ("http://gateway",)}),
        ("hosts[1]", {"hosts": ("gateway", "a b")}),
        ("hosts", {"hosts": tuple(f"h{number}" for number in range(MAX_HOSTS + 1))}),
    ],
)
def test_fail__wrong_value_names_its_key(key: str, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as caught:
        StatusPageConfig(**settings)  # type: ignore[arg-type]  # each is a field of the class
    assert caught.value.key == key
    assert caught.value.mend
