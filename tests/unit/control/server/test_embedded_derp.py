"""How the relay's host is told to nodes: name, and a literal per IP version."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SeededRandomness
from appliance.types.errors import ConfigError
from appliance.types.keys import DerpPrivateKey
from control.derp.throttle import LEAST_BURST_BYTES, Rate
from control.server.embedded_derp import EmbeddedDerp, relay_host
from control.server.settings import ServerSettings


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


async def test_ok__rates_reach_the_relay(tmp_path: Path) -> None:
    settings = ServerSettings(data_dir=tmp_path, derp_client_rate=1000, derp_total_rate=1_000_000)
    relay = EmbeddedDerp(settings, "127.0.0.1", DerpPrivateKey(b"\x20" * 32), SystemClock(), SeededRandomness(1))
    assert relay._server.limits_of_client() == Rate(1000, LEAST_BURST_BYTES)
    assert relay._server.total_bucket.rate.per_s == 1_000_000
    await relay.stop()
