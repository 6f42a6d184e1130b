"""Wrong settings of each of our own plugins: refused with the key and the mend, and what was set before goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.api.settings import setting_fields
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from appliance.api.values import PanelForm, Placement, PluginPanel, SettingField
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.host import PluginHost
from appliance.pluginhost.imports import import_class, import_object, make_plugin
from appliance.pluginhost.settings import parse_settings, plain_settings
from appliance.types.errors import ConfigError
from plugins.status_page import forms

FOUND = discover()
MANIFESTS = {each.name: each.manifest for each in FOUND.candidates}
INLINE = tuple(each for each in FOUND.candidates if each.manifest.placement is Placement.INLINE)

GOOD: dict[str, dict[str, Any]] = {
    "app_connector": {"keep_hours": 48},
    "doctor": {"interval_minutes": 30},
    "exit_node": {"advertise": True},
    "magicdns": {"upstreams": ["9.9.9.9"]},
    "mdns_reflector": {"services": ["_ipp._tcp"]},
    "peer_relay": {"port": 40000},
    "status_page": {"port": 8081},
    "subnet_router": {"advertise_routes": ["192.168.10.0/24"]},
    "wake_on_lan": {"hosts": {"nas": "00:1a:2b:3c:4d:5e"}},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "app_connector": ({"domains": {"shop": ["no domain!"]}}, "domains.shop[0]"),
    "doctor": ({"interval_minutes": 0}, "interval_minutes"),
    "exit_node": ({"use": 5}, "use"),
    "magicdns": ({"upstreams": ["ftp://x"]}, "upstreams[0]"),
    "mdns_reflector": ({"services": ["ipp"]}, "services[0]"),
    "peer_relay": ({"port": 70000}, "port"),
    "status_page": ({"port": 70000}, "port"),
    "subnet_router": ({"advertise_routes": ["192.168.10.0/99"]}, "advertise_routes[0]"),
    "wake_on_lan": ({"hosts": {"nas": "nonsense"}}, "hosts.nas"),
}


def test_ok__every_plugin_is_tried() -> None:
    assert set(GOOD) == set(WRONG) == set(MANIFESTS)


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_fail__key_and_mend(name: str) -> None:
    table, key = WRONG[name]
    config_class = import_class(name, MANIFESTS[name].config)
    with pytest.raises(ConfigError) as caught:
        parse_settings(name, config_class, table)
    assert caught.value.text.startswith(f"plugins.{name}.{key}")
    with pytest.raises(ConfigError, match=f"plugins.{name}.nonsense is not a setting") as caught:
        parse_settings(name, config_class, {"nonsense": 1})
    assert "its settings are" in caught.value.mend


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_ok__every_setting_is_in_a_form_of_the_page(name: str, fake_host: FakeHost) -> None:
    """With its help; and a form that is sent back as it came changes nothing."""
    config = parse_settings(name, import_class(name, MANIFESTS[name].config), GOOD[name])
    candidate = next(each for each in FOUND.candidates if each.name == name)
    plugin = make_plugin(name, import_object(name, candidate.target))
    HOOK_CONTRACTS["appliance_configure"](plugin, fake_host, config=config)
    panel = HOOK_CONTRACTS["appliance_status_panel"](plugin, fake_host)
    fields = setting_fields(config, helped=True)
    offered = {field for form in forms.forms_of(PluginPanel(name, panel), "") for field in _keys(form, fields)}
    assert offered == set(plain_settings(config)), "a setting is in no form"
    assert [field.key for field in fields if not field.help] == []
    shown = {field.key: forms.shown_text(field) for field in fields}
    assert forms.read_form(fields, shown) == ({}, ())


def _keys(form: PanelForm, fields: tuple[SettingField, ...]) -> set[str]:
    return {forms.top_key(field.key) for field in forms.fields_of(form, fields)}


@pytest.mark.parametrize("name", sorted(each.name for each in INLINE))
async def test_fail__what_was_set_goes_on(backend: Any, name: str) -> None:
    """The wrong table comes together with a right change of another plugin: neither is taken over."""
    other = "doctor" if name != "doctor" else "subnet_router"
    tables = {each: {"enabled": True, **(GOOD[each] if each == name else {})} for each in (name, other)}
    host = PluginHost(backend, tables, discovery=replace(FOUND, candidates=INLINE))
    host.load()
    host.start()
    loaded = host._loaded[name]
    before = {each: host.settings(each) for each in (name, other)}
    with pytest.raises(ConfigError) as caught:
        await host.apply_tables({name: {"enabled": True, **WRONG[name][0]}, other: {"enabled": True, **GOOD[other]}})
    after = {each: host.settings(each) for each in (name, other)}
    states = {each.name: each.state for each in host.statuses()}
    same = host._loaded[name] is loaded
    await host.stop()
    assert f"plugins.{name}.{WRONG[name][1]}" in caught.value.text
    assert after == before
    assert (states[name], same) == ("running", True)
    wanted = plain_settings(parse_settings(name, import_class(name, MANIFESTS[name].config), GOOD[name]))
    assert plain_settings(loaded.config) == wanted
