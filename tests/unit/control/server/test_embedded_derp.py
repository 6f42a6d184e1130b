"""The region of the embedded relay as nodes are told of it (derp-stun-netcheck spec section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from appliance.magicsock.netcheck.plan import node_speaks
from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.keys import DerpPrivateKey
from control.server.embedded_derp import EmbeddedDerp
from control.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.types.netmap import DerpNode


def node_for(host: str, directory: Path) -> DerpNode:
    private = DerpPrivateKey(bytes(range(1, 33)))
    relay = EmbeddedDerp(ServerSettings(data_dir=directory), host, private, SystemClock(), SystemRandomness())
    (region,) = relay.derp_map()
    return region.nodes[0]


# Seen with stock client 1.102.3 on 2026-11-21: with the other family left empty it looked the literal up again and
# waited 3 s for the probe that it could not send, in its first report and before each call-me-maybe.
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [
        ("203.0.113.1", "203.0.113.1", "none"),
        ("2001:db8::1", "none", "2001:db8::1"),
        ("relay.example.com", "", ""),
    ],
)
async def test_ok__literal_host_disables_other_family(tmp_path: Path, host: str, ipv4: str, ipv6: str) -> None:
    node = node_for(host, tmp_path)
    assert (node.ipv4, node.ipv6) == (ipv4, ipv6)
    assert node_speaks(node, v6=False) is (ipv4 != "none")
    assert node_speaks(node, v6=True) is (ipv6 != "none")
