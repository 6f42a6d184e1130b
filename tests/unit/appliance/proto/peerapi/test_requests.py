"""Header checks of apps spec 1.3."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from multidict import CIMultiDict

from appliance.proto.peerapi import host_is_ours, is_cross_site, looks_like_browser

OWN = [ip_address("100.64.0.1"), ip_address("fd7a:115c:a1e0::1")]


@pytest.mark.parametrize("host", ["peer", "100.64.0.1:58436", "100.64.0.1:1", "[fd7a:115c:a1e0::1]:80"])
def test_ok__hosts_that_are_ours(host: str) -> None:
    assert host_is_ours(host, OWN)


@pytest.mark.parametrize(
    "host",
    ["", "100.64.0.1", "100.64.0.2:80", "example.org:80", "peer:80", "[fd7a:115c:a1e0::1]", "127.0.0.1:1", "::1"],
)
def test_fail__hosts_that_are_not(host: str) -> None:
    assert not host_is_ours(host, OWN)


def test_fail__pages_in_browsers_are_told() -> None:
    assert is_cross_site(CIMultiDict(referer="http://example.org/"))
    assert is_cross_site(CIMultiDict(ORIGIN="null"))
    assert not is_cross_site(CIMultiDict(Host="peer"))


@pytest.mark.parametrize(
    ("name", "value", "browser"),
    [
        ("accept-encoding", "gzip, Deflate;q=0.5", True),
        ("accept-encoding", "gzip", False),
        ("user-agent", "Mozilla/5.0", True),
        ("user-agent", "one two three four", True),
        ("user-agent", "curl/8 (a b)", False),
        ("accept-language", "en", True),
        ("accept", "*/*", False),
    ],
)
def test_ok__browsers_are_recognised(name: str, value: str, browser: bool) -> None:
    assert looks_like_browser(CIMultiDict({name: value})) is browser
