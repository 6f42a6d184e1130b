"""Control URLs and the port table of control-protocol spec section 3.2."""

from __future__ import annotations

import pytest

from appliance.netmap.address import parse_control_url
from appliance.netmap.errors import BadControlUrl


@pytest.mark.parametrize(
    ("url", "key", "plain", "tls"),
    [
        ("https://h.example", 443, 80, 443),
        ("https://h.example:8443", 8443, 80, 8443),
        ("http://h.example", 80, 80, 443),
        ("http://h.example:8080", 8080, 8080, 443),
        ("http://8.8.8.8:8080", 8080, 8080, 443),
        ("http://10.0.0.1", 80, 80, None),
        ("http://127.0.0.1:8080/", 8080, 8080, None),
        ("http://localhost:8080", 8080, 8080, None),
        ("http://[fd00::1]:8080", 8080, 8080, None),
        ("https://10.0.0.1", 443, 80, 443),
    ],
)
def test_ok__ports(url: str, key: int, plain: int, tls: int | None) -> None:
    address = parse_control_url(url)
    assert (address.key_port, address.plain_port, address.tls_port) == (key, plain, tls)


def test_ok__forms() -> None:
    assert str(parse_control_url(" HTTPS://Control.Example/ ")) == "https://control.example"
    assert parse_control_url("https://bücher.example").host == "xn--bcher-kva.example"
    literal = parse_control_url("http://[FD00::1]:80")
    assert literal.host_header == "[fd00::1]:80"
    assert literal.sni == ""
    assert parse_control_url("https://h.example").sni == "h.example"


@pytest.mark.parametrize(
    "url",
    [
        "", "control.example", "ftp://h", "https://", "https://h:0", "https://h:99999", "https://h/path", "https://u@h",
        "https://h?x", "https://h#x", "https://[bad", "https://" + "a" * 80 + ".example", "http:// h",
    ],
)  # fmt: skip
def test_fail__bad_url(url: str) -> None:
    with pytest.raises(BadControlUrl) as caught:
        parse_control_url(url)
    assert caught.value.mend
