from __future__ import annotations

from typing import Any

import pytest

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
        ({"regions": ("fra", "no region")}, "regions[1]", "waypost netcheck"),
        ({"regions": ("r",) * 65}, "regions", "fewer"),
    ],
)
def test_fail__wrong_settings_name_key_and_mend(values: dict[str, Any], key: str, mend: str) -> None:
    with pytest.raises(ExitSettingError) as caught:
        ExitNodeConfig(**values)
    assert caught.value.key == key
    assert mend in caught.value.mend
