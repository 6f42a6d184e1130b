"""What the light Rust client sends, and what it must find in each answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.proto.control import messages as wire

VECTORS = json.loads((Path(__file__).parents[4] / "vectors" / "control" / "light_client.json").read_text())


def test_ok__its_spelling_of_names_is_understood() -> None:
    registering = wire.decode(wire.RegisterRequest, VECTORS["register_request"].encode())
    assert registering.auth is not None
    assert registering.hostinfo is not None
    assert (registering.auth.auth_key, registering.hostinfo.hostname) == ("key", "rsone")
    asking = wire.decode(wire.MapRequest, VECTORS["map_request"].encode())
    assert asking.hostinfo is not None
    assert asking.hostinfo.net_info is not None
    assert (asking.hostinfo.hostname, asking.hostinfo.net_info.preferred_derp) == ("rsone", 900)
    assert asking.hostinfo.net_info.derp_latency == {"900-v4": 0.000354838}


@pytest.mark.parametrize("kind", VECTORS["required"])
def test_ok__what_it_requires_is_sent_though_it_is_zero(kind: str) -> None:
    sent = json.loads(wire.encode(getattr(wire, kind)()))
    assert set(VECTORS["required"][kind]) <= set(sent)
