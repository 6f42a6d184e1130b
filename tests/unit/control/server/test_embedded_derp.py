"""How the relay's host is told to nodes: name, and a literal per IP version."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.types.errors import ConfigError
from control.server.embedded_derp import relay_host


@pytest.mark.parametrize(
    ("text", "name", "addresses"),
    [
        ("relay.example", "relay.example", []),
        ("203.0.113.1", "203.0.113.1", ["203.0.113.1"]),
        ("203.0.113.1,2001:db8::1", "203.0.113.1", ["203.0.113.1", "2001:db8::1"]),
        ("relay.example, 2001:db8::1", "relay.example", ["2001:db8::1"]),
    ],
)
def test_ok__host_and_addresses(text: str, name: str, addresses: list[str]) -> None:
    assert relay_host(text) == (name, tuple(map(ip_address, addresses)))


def test_fail__second_name() -> None:
    with pytest.raises(ConfigError) as error:
        relay_host("relay.example,other.example")
    assert "other.example" in error.value.line()
