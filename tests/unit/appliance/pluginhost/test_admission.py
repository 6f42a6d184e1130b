from __future__ import annotations

from typing import Any

import pytest

from appliance.api.values import API_VERSION, Placement
from appliance.pluginhost.admission import Site, admit
from appliance.pluginhost.manifest import Manifest

SITE = Site(hooks=frozenset({"appliance_stop"}), proto=frozenset({"stun"}), own=frozenset({"ours"}))


def manifest(name: str, **fields: Any) -> Manifest:
    values: dict[str, Any] = {"api_version": API_VERSION, "placement": Placement.INLINE, "hooks": (), **fields}
    return Manifest(name=name, purpose="p", owner="o", config="m:C", **values)


def test_ok__order_follows_after_then_name() -> None:
    found = admit([manifest("a", after=("c",)), manifest("b"), manifest("c", after=("absent",))], SITE)
    assert found.order == ("b", "c", "a")
    assert found.refused == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"api_version": API_VERSION + 1}, "update Waypost"),
        ({"api_version": 0}, "update the plugin"),
        ({"placement": Placement.APPS}, "waypost-apps"),
        ({"hooks": ("appliance_unknown",)}, "appliance_unknown"),
        ({"proto": ("stun",)}, "protocol packages"),
        ({"kernel_features": ("magic",)}, "magic"),
        ({"capabilities": ("CAP_SYS_ADMIN",)}, "CAP_SYS_ADMIN"),
        ({"boards": ("pi5",)}, "pi5"),
    ],
)
def test_fail__plugin_does_not_fit(fields: dict[str, Any], said: str) -> None:
    found = admit([manifest("x", **fields), manifest("y")], SITE)
    assert found.order == ("y",)
    assert said in found.refused[0].line()


def test_ok__own_plugin_uses_proto() -> None:
    assert admit([manifest("ours", proto=("stun",))], SITE).order == ("ours",)


@pytest.mark.parametrize("fields", [{"claims": ("port 53",)}, {"conflicts": ("b", "a")}])
def test_fail__two_want_one_thing(fields: dict[str, Any]) -> None:
    found = admit([manifest("a", **fields), manifest("b", **fields), manifest("c")], SITE)
    assert found.order == ("c",)
    assert [error.plugin for error in found.refused] == ["a", "b"]
    assert all("a" in error.line() and "b" in error.line() for error in found.refused)


def test_fail__circle() -> None:
    found = admit([manifest("a", after=("b",)), manifest("b", after=("a",)), manifest("c")], SITE)
    assert found.order == ("c",)
    assert {error.plugin for error in found.refused} == {"a", "b"}
