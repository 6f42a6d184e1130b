"""Which line a setting stands on."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.lines import line_numbers, place_of, placed
from appliance.types.errors import ConfigError

TEXT = '''version = 1 # [not a table]

[tunnel]
port = 41641
"quoted key" = "a # b"   # a comment

[plugins.subnet_router]
advertise_routes = [
    "192.168.10.0/24",   # the LAN
    "10.0.0.0/8", "172.16.0.0/12",
]
probes = ["192.168.10.1"]

[plugins."magicdns".routes]
"corp.example" = ["10.0.0.1", "x]y"]

[plugins.x]
text = """
port = 5
[nothing]
"""
table = { a = [1, 2], b = "}" }
after = 'c:\\'
last = true'''


def test_ok__every_key_and_entry() -> None:
    assert tomllib.loads(TEXT)
    assert line_numbers(TEXT) == {
        "version": 1,
        "tunnel": 3,
        "tunnel.port": 4,
        "tunnel.quoted key": 5,
        "plugins.subnet_router": 7,
        "plugins.subnet_router.advertise_routes": 8,
        "plugins.subnet_router.advertise_routes[0]": 9,
        "plugins.subnet_router.advertise_routes[1]": 10,
        "plugins.subnet_router.advertise_routes[2]": 10,
        "plugins.subnet_router.probes": 12,
        "plugins.subnet_router.probes[0]": 12,
        "plugins.magicdns.routes": 14,
        "plugins.magicdns.routes.corp.example": 15,
        "plugins.magicdns.routes.corp.example[0]": 15,
        "plugins.magicdns.routes.corp.example[1]": 15,
        "plugins.x": 17,
        "plugins.x.text": 18,
        "plugins.x.table": 22,
        "plugins.x.after": 23,
        "plugins.x.last": 24,
    }


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("plugins.x.list[3]", "f:2"),
        ("plugins.x.list[0]", "f:3"),
        ("plugins.x.list[0].deep", "f:3"),
        ("plugins.x.other.thing", "f:1"),
        ("plugins.y", ""),
        ("", ""),
    ],
)
def test_ok__nearest_place(key: str, place: str) -> None:
    assert place_of(key, {"plugins.x": "f:1", "plugins.x.list": "f:2", "plugins.x.list[0]": "f:3"}) == place


def test_ok__error_with_its_place() -> None:
    error = ConfigError("plugins.x.list[0]: 'a' is no b", mend="write a b")
    found = placed(error, {"plugins.x.list": "f:2"})
    assert (found.text, found.mend) == ("f:2: plugins.x.list[0]: 'a' is no b", "write a b")
    other = ConfigError("something else is wrong")
    assert placed(other, {"plugins.x": "f:1"}) is other


@given(st.text(max_size=200))
def test_ok__any_text_ends(text: str) -> None:
    line_numbers(text)
