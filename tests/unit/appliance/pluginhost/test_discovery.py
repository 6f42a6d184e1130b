from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from appliance.pluginhost.discovery import discover
from appliance.pluginhost.errors import ManifestError
from appliance.pluginhost.manifest import parse_manifest

GOOD = """
[plugin]
name = "sample"
purpose = "A sample"
owner = "Tests"
api_version = 1
placement = "inline"
config = "sample.config:Config"
hooks = ["appliance_stop"]
[quality]
docs = "exempt: a test"
"""


def test_ok__manifest_is_read_without_import(install) -> None:
    found = discover([install("one", "raise RuntimeError('imported')")])
    assert [candidate.name for candidate in found.candidates] == ["one"]
    assert not [name for name in sys.modules if name.startswith("sample_one")]


def test_ok__own_plugin_is_installed() -> None:
    found = discover()
    assert "subnet_router" in [candidate.name for candidate in found.candidates]
    assert found.refused == ()


def test_fail__no_manifest() -> None:
    found = discover([EntryPoint("ghost", "no_such_package.hooks:Plugin", "waypost.plugins")])
    assert found.candidates == ()
    assert "ghost" in found.refused[0].line()


def test_fail__one_name_twice(install) -> None:
    first = install("twin")
    other = install("other")
    second = EntryPoint("twin", other.value, other.group)
    found = discover([first, second])
    assert [error.plugin for error in found.refused] == ["twin"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"inline"', '"moon"', "placement"),
        ("api_version = 1", 'api_version = "1"', "api_version"),
        ('"sample"', '"Sample"', "plugin.name"),
        ('name = "sample"', 'name = "another"', "plugin.name"),
        ('purpose = "A sample"', 'purpose = ""', "plugin.purpose"),
        ('"sample.config:Config"', '"sample.config"', "plugin.config"),
        ('owner = "Tests"', 'owner = "Tests"\nnonsense = 1', "plugin.nonsense"),
        ('"exempt: a test"', '"later"', "quality.docs"),
        ("[plugin]", "[plugin", "TOML"),
        ('"appliance_stop"', '"appliance_stop", "appliance_stop"', "plugin.hooks"),
    ],
)
def test_fail__manifest_error_names_the_key(old: str, new: str, said: str) -> None:
    assert parse_manifest(GOOD, "sample").hooks == ("appliance_stop",)
    with pytest.raises(ManifestError, match=said.replace(".", r"\.")):
        parse_manifest(GOOD.replace(old, new), "sample")
