from __future__ import annotations

import pytest

from appliance.types.addresses import AddrPort
from plugins.exit_node.errors import ProxyRefusedError
from plugins.exit_node.proxies import Proxy, parse_credentials, parse_proxy, relay_of


def test_ok__kinds_of_proxies() -> None:
    assert parse_proxy("socks5://192.0.2.9") == Proxy(is_socks=True, host="192.0.2.9", port=1080)
    assert parse_proxy("http://proxy.example:8080/") == Proxy(is_socks=False, host="proxy.example", port=8080)
    assert parse_proxy("socks5://[2001:db8::9]:99") == Proxy(is_socks=True, host="2001:db8::9", port=99)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://a", "known kind"),
        ("socks5://ann:secret@a", "into a file"),
        ("socks5://", "no host"),
        ("http://a/path", "no host"),
        ("http://a:port", "no proxy's URL"),
    ],
)
def test_fail__other_urls(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)


def test_ok__credentials() -> None:
    assert parse_credentials("ann:se:cret\n") == ("ann", "se:cret")


@pytest.mark.parametrize("text", ["", "ann", ":x", "a" * 256 + ":x", "a:b\nc:d"])
def test_fail__credentials(text: str) -> None:
    with pytest.raises(ValueError, match="holds"):
        parse_credentials(text)


@pytest.mark.parametrize(
    ("bound", "proxy_ip", "relay"),
    [
        (AddrPort("192.0.2.7", 9), "192.0.2.9", AddrPort("192.0.2.7", 9)),
        (AddrPort("0.0.0.0", 9), "192.0.2.9", AddrPort("192.0.2.9", 9)),
        (AddrPort("::", 9), "2001:db8::9", AddrPort("2001:db8::9", 9)),
        (AddrPort("127.0.0.2", 9), "127.0.0.1", AddrPort("127.0.0.2", 9)),
    ],
)
def test_ok__where_datagrams_go(bound: AddrPort, proxy_ip: str, relay: AddrPort) -> None:
    assert relay_of(bound, proxy_ip) == relay


@pytest.mark.parametrize(
    "bound", [None, AddrPort("192.0.2.9", 0), AddrPort("127.0.0.1", 53), AddrPort("224.0.0.1", 5353)]
)
def test_fail__no_place_for_datagrams(bound: AddrPort | None) -> None:
    with pytest.raises(ProxyRefusedError, match="place for UDP"):
        relay_of(bound, "192.0.2.9")
