from __future__ import annotations

from typing import Any

import pytest

from appliance.api import SettingError
from plugins.app_connector.config import AppConnectorConfig


def test_ok__apps() -> None:
    config = AppConnectorConfig(True, {"a": ("a.example", "*.a.example")}, {"b": ("198.51.100.0/24",)})
    assert [app.name for app in config.apps()] == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("domains.a[1]", {"domains": {"a": ("a.example", "*")}}),
        ("routes.a[0]", {"routes": {"a": ("0.0.0.0/0",)}}),
        ("max_addresses", {"max_addresses": 0}),
        ("keep_hours", {"keep_hours": 0}),
        ("domains", {"domains": {str(number): () for number in range(201)}}),
        ("domains.a", {"domains": {"a": ("a.example",) * 1001}}),
    ],
)
def test_fail__wrong_setting_is_named_with_its_mend(key: str, setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        AppConnectorConfig(**setting)
    assert caught.value.key == key
    assert caught.value.mend
