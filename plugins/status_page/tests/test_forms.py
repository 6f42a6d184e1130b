from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api import FieldKind, JsonValue, Panel, PanelForm, PluginPanel, SettingField, SettingProblem
from plugins.status_page import forms

FLAG = SettingField("accept_routes", FieldKind.FLAG, value=False)
PORT = SettingField("port", FieldKind.NUMBER, value=53, least=1, most=65535)
LATITUDE = SettingField("location.latitude", FieldKind.DECIMAL, value=52.5)
CITY = SettingField("location.city", FieldKind.TEXT, value="Berlin")
ROUTES = SettingField("routes", FieldKind.LIST, value=["10.0.0.0/8", "192.168.1.0/24"])
HOSTS = SettingField("hosts", FieldKind.TABLE, value={"nas": "00:1a:2b:3c:4d:5e on lan0"})
APPS = SettingField("apps", FieldKind.LISTS, value={"shop": ["a.example", "b.example"]})
WAY = SettingField("os", FieldKind.CHOICE, value="auto", choices=("auto", "off"))
SECRET = SettingField("token", FieldKind.TEXT, secret=True, is_set=True)
ALL = (FLAG, PORT, LATITUDE, CITY, ROUTES, HOSTS, APPS, WAY, SECRET)
AS_SHOWN = {field.key: forms.shown_text(field) for field in ALL if field is not FLAG}


def test_ok__what_is_shown_is_what_holds() -> None:
    assert AS_SHOWN["hosts"] == "nas = 00:1a:2b:3c:4d:5e on lan0"
    assert AS_SHOWN["apps"] == "shop = a.example, b.example"
    assert AS_SHOWN["token"] == ""
    assert forms.read_form(ALL, AS_SHOWN) == ({}, ()), "sent back as it is it changes nothing"


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("accept_routes", "on", {"accept_routes": True}),
        ("port", " 5353 ", {"port": 5353}),
        ("location.latitude", "48.1", {"location": {"latitude": 48.1, "city": "Berlin"}}),
        ("routes", "10.0.0.0/8\r\n\r\n  fd00::/8 ", {"routes": ["10.0.0.0/8", "fd00::/8"]}),
        ("routes", "", {"routes": []}),
        (
            "hosts",
            "nas = 00:1a:2b:3c:4d:5e\npc=00:1a:2b:3c:4d:5f",
            {"hosts": {"nas": "00:1a:2b:3c:4d:5e", "pc": "00:1a:2b:3c:4d:5f"}},
        ),
        ("apps", "shop = a.example b.example,c.example", {"apps": {"shop": ["a.example", "b.example", "c.example"]}}),
        ("apps", "shop =", {"apps": {"shop": []}}),
        ("os", "off", {"os": "off"}),
        ("token", "new", {"token": "new"}),
        (forms.FORGET + "token", "on", {"token": None}),
    ],
)
def test_ok__only_what_was_changed_is_set(key: str, text: str, wanted: dict[str, JsonValue]) -> None:
    assert forms.read_form(ALL, {**AS_SHOWN, key: text}) == (wanted, ())


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("port", "many", "no number"),
        ("port", "", "no number"),
        ("port", "9" * 40, "no number"),
        ("port", "9" * 5000, "no number"),
        ("location.latitude", "north", "no number"),
        ("location.latitude", "nan", "no number"),
        ("location.latitude", "1e999", "no number"),
        ("hosts", "nas", "no name with its value"),
        ("hosts", "= 00:1a:2b:3c:4d:5e", "no name with its value"),
        ("hosts", "nas = a\nnas = b", "there twice"),
        ("apps", "shop", "no name with its value"),
    ],
)
def test_fail__what_nobody_can_read_is_said_at_its_field(key: str, text: str, said: str) -> None:
    settings, (problem,) = forms.read_form(ALL, {**AS_SHOWN, key: text})
    assert settings == {}
    assert problem.key == key
    assert said in problem.text
    assert problem.mend


def test_ok__form_has_its_own_keys_in_its_own_order() -> None:
    assert forms.fields_of(PanelForm("A", ("port", "location")), ALL) == (PORT, LATITUDE, CITY)
    assert forms.fields_of(PanelForm("All"), ALL) == ALL
    assert forms.forms_of(PluginPanel("x", Panel("t")), "Settings") == (PanelForm("Settings"),)


def test_ok__typed_text_stays_and_secrets_do_not() -> None:
    problem = SettingProblem("routes[1]", "routes[1]: no prefix")
    posted = {"routes": "x\ny", "token": "typed"}
    shown = {each.field.key: each for each in forms.inputs((ROUTES, SECRET, PORT), posted, (problem,))}
    assert shown["routes"].text == "x\ny"
    assert shown["routes"].problems == (problem,)
    assert shown["token"].text == ""
    assert (shown["port"].problems, shown["port"].hint) == ((), "From 1 to 65535.")


@pytest.mark.parametrize(
    ("key", "about"), [("routes", True), ("routes[2]", True), ("routes.corp", True), ("routes_x", False)]
)
def test_ok__problem_belongs_to_its_setting(key: str, about: bool) -> None:
    assert forms.is_about(SettingProblem(key, ""), ROUTES) is about


def test_ok__fingerprint_follows_the_values() -> None:
    assert forms.fingerprint((ROUTES,)) == forms.fingerprint((ROUTES,))
    assert forms.fingerprint((ROUTES,)) != forms.fingerprint((SettingField("routes", FieldKind.LIST, value=[]),))


def test_ok__odd_values_survive_a_form_that_does_not_touch_them() -> None:
    field = SettingField("routes", FieldKind.LISTS, value={"": ["9.9.9.9"], "a = b": [], " c": ["x y"]})
    assert forms.read_form((field,), {"routes": forms.shown_text(field)}) == ({}, ())


@given(st.dictionaries(st.sampled_from([field.key for field in ALL]), st.text(max_size=40)))
def test_ok__whatever_is_sent_is_read_or_refused(posted: dict[str, str]) -> None:
    settings, problems = forms.read_form(ALL, posted)
    assert not {problem.key for problem in problems} & set(settings)
    assert {forms.top_key(field.key) for field in ALL} >= set(settings)
    assert all(problem.mend for problem in problems)
