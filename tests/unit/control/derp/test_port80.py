"""The plain port sends everybody to HTTPS but those who look for a captive portal."""

from __future__ import annotations

import pytest

from appliance.proto.http1.head import RequestHead, parse_request_head
from control.derp.listener import ANY_PATH
from control.derp.port80 import port80_pages


def head(text: str) -> RequestHead:
    found = parse_request_head(text.encode())
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("port", "host", "location"),
    [
        (443, "derp.example", "https://derp.example/x"),
        (8443, "derp.example:80", "https://derp.example:8443/x"),
        (443, "[2001:db8::1]:80", "https://[2001:db8::1]/x"),
    ],
)
def test_ok__on_to_https(port: int, host: str, location: str) -> None:
    reply = port80_pages(port)[ANY_PATH](head(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    assert (reply.status, dict(reply.headers)["Location"]) == (302, location)


@pytest.mark.parametrize("host", ["", "a b", "x/../evil", "a@b"])
def test_fail__hosts_that_are_none(host: str) -> None:
    assert port80_pages(443)[ANY_PATH](head(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")).status == 400


def test_ok__portal_checks_and_other_methods() -> None:
    page = port80_pages(443)[ANY_PATH]
    found = page(head("GET /generate_204 HTTP/1.1\r\nHost: x\r\nX-Tailscale-Challenge: abc\r\n\r\n"))
    assert (found.status, dict(found.headers)["X-Tailscale-Response"]) == (204, "response abc")
    assert page(head("GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    assert page(head("POST / HTTP/1.1\r\nHost: x\r\n\r\n")).status == 400
