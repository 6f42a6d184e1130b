from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.types.senders import Senders, parse_senders


def test_ok__every_way_to_name_a_host() -> None:
    found = parse_senders(["192.168.1.7", " 2001:db8::/64", "02-00-5E-00-53-01", "eth2", "02:00:5e:00:53:01"])
    assert found == Senders(
        (ip_network("192.168.1.7/32"), ip_network("2001:db8::/64")), ("02:00:5e:00:53:01",), ("eth2",)
    )


@pytest.mark.parametrize(
    ("texts", "versions"),
    [([], set()), (["10.0.0.0/8"], {4}), (["2001:db8::1"], {6}), (["eth2"], {4, 6}), (["02:00:5e:00:53:01"], {4, 6})],
)
def test_ok__in_which_ip_versions_somebody_is_named(texts: list[str], versions: set[int]) -> None:
    found = parse_senders(texts)
    assert found.versions == versions
    assert bool(found) == bool(texts)


@pytest.mark.parametrize(
    "text", ["", "a b", "10.0.0.1/8", "02:00:5e:00:53", "an-interface-too-long", "10.0.0.300", "-x"]
)
def test_fail__what_names_nobody_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address|bits set"):
        parse_senders([text])
