from __future__ import annotations

import pytest

from plugins.magicdns.errors import UpstreamSettingError
from plugins.magicdns.upstream import Kind, Upstream, known_addresses, parse_upstream, parse_upstreams, without


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("9.9.9.9", Upstream(Kind.PLAIN, "9.9.9.9", 53)),
        ("9.9.9.9:5353", Upstream(Kind.PLAIN, "9.9.9.9", 5353)),
        ("2620:fe::fe", Upstream(Kind.PLAIN, "2620:fe::fe", 53)),
        ("[2620:fe::fe]:5353", Upstream(Kind.PLAIN, "2620:fe::fe", 5353)),
        ("tls://dns.quad9.net", Upstream(Kind.TLS, "", 853, "dns.quad9.net")),
        ("tls://9.9.9.9#dns.quad9.net", Upstream(Kind.TLS, "9.9.9.9", 853, "dns.quad9.net")),
        ("tls://dns.quad9.net:8853#9.9.9.9", Upstream(Kind.TLS, "9.9.9.9", 8853, "dns.quad9.net")),
        ("https://dns.quad9.net", Upstream(Kind.HTTPS, "", 443, "dns.quad9.net", "/dns-query")),
        ("https://9.9.9.9/q", Upstream(Kind.HTTPS, "9.9.9.9", 443, "9.9.9.9", "/q")),
        ("http://100.64.0.9:58436/dns-query", Upstream(Kind.PEER, "100.64.0.9", 58436, "", "/dns-query")),
    ],
)
def test_ok__forms(text: str, upstream: Upstream) -> None:
    assert parse_upstream(text) == upstream
    assert parse_upstream(text).is_inside == ("100.64" in text)


@pytest.mark.parametrize(
    "text",
    ["", "dns.example", "0.0.0.0", "224.0.0.1", "9.9.9.9:0", "9.9.9.9:x", "[::1", "fe80::1%eth0", "ftp://9.9.9.9",
     "tls://", "tls://9.9.9.9/x", "https://", "https://u@x/", "http://dns.example/dns-query", "http://8.8.8.8/x"],
)  # fmt: skip
def test_fail__no_resolver(text: str) -> None:
    with pytest.raises(UpstreamSettingError) as caught:
        parse_upstreams(("9.9.9.9", text), "upstreams")
    assert caught.value.key == "upstreams[1]"
    assert caught.value.mend


@pytest.mark.parametrize(
    "text",
    ["9.9.9.9", "9.9.9.9:5353", "tls://dns.quad9.net", "https://dns.quad9.net/dns-query", "http://100.64.0.9:80/d"],
)
def test_ok__shown_as_written(text: str) -> None:
    assert str(parse_upstream(text)) == text


def test_ok__not_ourselves() -> None:
    upstreams = parse_upstreams(("9.9.9.9", "100.100.100.100", "9.9.9.9"), "upstreams")
    assert [each.address for each in without(upstreams, ["100.100.100.100"])] == ["9.9.9.9"]
    assert known_addresses("dns.quad9.net")[0] == "9.9.9.9"
    assert known_addresses("dns.example") == ()
