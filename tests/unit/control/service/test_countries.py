"""Countries of addresses, by real files of the format, and what postures make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.types.errors import ConfigError
from control.service.attributes import COUNTRY, MAX_ATTRIBUTES
from control.service.countries import Countries

from .conftest import ADMIN
from .country_file import write_countries

NETWORKS = {
    "192.0.2.0/24": {"country": {"iso_code": "DE"}, "continent": {"code": "EU"}},
    "198.51.100.0/25": {"country_code": "at"},
    "198.51.100.128/25": {"country": "FR"},
    "203.0.113.0/24": {"country": {"iso_code": (5, 7)}},  # a number
    "203.0.114.0/24": "text",
    "203.0.115.0/24": {"country": "Atlantis"},
    "2001:db8::/32": {"country": {"iso_code": "CH"}},
}


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "country.mmdb"
    write_countries(made, NETWORKS)
    return made


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("192.0.2.9", "DE"),
        ("198.51.100.1", "AT"),
        ("198.51.100.200", "FR"),
        ("2001:db8::1", "CH"),
        ("10.0.0.1", None),
        ("203.0.113.1", None),
        ("203.0.114.1", None),
        ("203.0.115.1", None),
        ("2001:db9::1", None),
        ("no address", None),
        ("", None),
    ],
)
def test_ok__country(file, address, code):
    assert Countries(file).country(address) == code


def test_ok__a_replaced_file_is_taken_up_and_a_bad_one_is_not(file):
    countries = Countries(file)
    new = file.with_suffix(".new")
    write_countries(new, {"192.0.2.0/24": {"country": {"iso_code": "IT"}}})
    new.rename(file)
    assert countries.country("192.0.2.1") == "DE"
    countries.refresh()
    assert countries.country("192.0.2.1") == "IT"
    new.write_bytes(b"not a database")
    new.rename(file)
    countries.refresh()
    assert countries.country("192.0.2.1") == "IT"
    file.unlink()
    countries.refresh()
    assert countries.country("192.0.2.1") == "IT"


@pytest.mark.parametrize("content", [None, b"", b"\xab\xcd\xefMaxMind.com\xff\xff"])
def test_fail__unusable_files(tmp_path, content):
    file = tmp_path / "bad.mmdb"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"posture\.countries: cannot use") as caught:
        Countries(file)
    assert "MaxMind" in caught.value.mend


HOME = """{
  "postures": {"posture:home": ["ip:country IN ['DE', 'AT']"]},
  "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:home"]}],
}"""


async def test_ok__a_posture_follows_a_node_over_borders(rig, file):
    rig.settings = replace(rig.settings, country_file=file)
    await rig.reopen()
    one, two = await rig.join(1), await rig.join(2)
    await rig.service.policies.set(ADMIN, HOME)
    view = rig.service.view()

    async def at(address: str) -> bool:
        await rig.service.seen_at(view.nodes[one.id], address)
        return view.are_peers(one.id, two.id)

    assert not view.are_peers(one.id, two.id)
    assert await at("192.0.2.1")
    assert not await at("198.51.100.200")
    assert await at("198.51.100.1")
    revision = view.revision
    assert await at("198.51.100.2")
    assert view.revision == revision, "the same country is no news"
    await rig.reopen()
    view = rig.service.view()
    assert view.nodes[one.id].attributes[COUNTRY] == "AT"
    assert not await at("10.0.0.1")
    assert COUNTRY not in view.nodes[one.id].attributes


async def test_ok__a_country_is_beside_the_limit_of_attributes(rig, file):
    rig.settings = replace(rig.settings, country_file=file)
    await rig.reopen()
    node = await rig.join(1)
    await rig.service.attributes.set(ADMIN, "gw1", {f"custom:a{number}": 1 for number in range(MAX_ATTRIBUTES)})
    await rig.service.seen_at(rig.service.view().nodes[node.id], "192.0.2.1")
    assert rig.service.view().nodes[node.id].attributes[COUNTRY] == "DE"


async def test_ok__without_a_file_nothing_is_known(rig):
    node = await rig.join(1)
    await rig.service.seen_at(node, "192.0.2.1")
    assert COUNTRY not in rig.service.view().nodes[node.id].attributes
