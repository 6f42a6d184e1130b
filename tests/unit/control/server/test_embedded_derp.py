"""How the relay's host is told to nodes: name, and a literal per IP version."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.http1.head import RequestHead
from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.keys import DerpPrivateKey
from control.derp.throttle import LEAST_BURST_BYTES, Rate
from control.server.embedded_derp import EmbeddedDerp, relay_host
from control.server.routes import PlainRequest, Routes
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


@pytest.mark.parametrize(("port", "told"), [(80, True), (8080, False)])
async def test_ok__port_80_is_told_where_the_server_has_it(tmp_path: Path, port: int, told: bool) -> None:
    settings = ServerSettings(
        data_dir=tmp_path, listen=AddrPort("127.0.0.1", port), derp_listen=AddrPort("127.0.0.1", 0), stun_port=0
    )
    relay = EmbeddedDerp(settings, "127.0.0.1", DerpPrivateKey(b"\x20" * 32), SystemClock(), SeededRandomness(1))
    routes = Routes()
    await relay.start(routes)
    ((node,),) = [region.nodes for region in relay.derp_map()]
    assert node.can_port80 is told
    head = RequestHead("HTTP/1.1", (("x-tailscale-challenge", "ts_here"),), "GET", "/generate_204")
    reply = await routes.plain["GET", "/generate_204"](PlainRequest(head, b"", "127.0.0.1"))
    assert reply.status == 204
    assert ("X-Tailscale-Response", "response ts_here") in reply.headers
    await relay.stop()
