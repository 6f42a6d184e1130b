from __future__ import annotations

import pytest

from appliance.daemon.preferences import effective_tables, patched, view_of
from appliance.localapi.schema import PrefsPatch
from appliance.state.profiles import Prefs
from appliance.types.errors import ConfigError


def test_ok__only_named_fields_change() -> None:
    before = Prefs(hostname="a", shields_up=True, advertise_tags=("tag:x",))
    after = patched(before, PrefsPatch(hostname="b"))
    assert (after.hostname, after.shields_up, after.advertise_tags) == ("b", True, ("tag:x",))


def test_ok__plugin_settings_merge_and_null_goes_back_to_the_file() -> None:
    prefs = patched(Prefs(), PrefsPatch(plugins={"r": {"snat": False, "x": 1}}))
    prefs = patched(prefs, PrefsPatch(plugins={"r": {"x": None}, "s": {"y": None}}))
    assert prefs.plugins == {"r": {"snat": False}}
    tables = effective_tables({"r": {"snat": True, "x": 5}, "t": {"z": 1}}, prefs)
    assert tables == {"r": {"snat": False, "x": 5}, "t": {"z": 1}}


@pytest.mark.parametrize("patch", [PrefsPatch(hostname="a.b"), PrefsPatch(advertise_tags=("x",))])
def test_fail__values_that_cannot_be(patch: PrefsPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        patched(Prefs(), patch)
    assert caught.value.mend


def test_ok__view_shows_the_url_in_force() -> None:
    view = view_of(Prefs(), "https://c.example", {"x": {"token": "(not shown)"}})
    assert (view.control_url, view.plugins) == ("https://c.example", {"x": {"token": "(not shown)"}})
