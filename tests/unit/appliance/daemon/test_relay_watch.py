"""When a relay that is away becomes a health item, on a virtual clock."""

from __future__ import annotations

import pytest

from appliance.daemon.relay_watch import HEALTH, PATIENCE_S, RelayWatch, relay_mend
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus


def test_ok__said_after_a_while_and_mended_at_once() -> None:
    clock = VirtualClock()
    health = HealthTracker(EventBus(), clock)
    watch = RelayWatch(clock, health)
    watch.look("Home", connected=False, error="refused")
    clock.advance(PATIENCE_S - 1)
    watch.look("Home", connected=False, error="refused")
    assert health.items() == []
    clock.advance(1)
    watch.look("Home", connected=False, error="refused")
    (item,) = health.items()
    assert item.code == HEALTH
    assert "Home cannot be reached: refused" in item.text
    watch.look("Home", connected=True, error="")
    assert health.items() == []
    watch.look("Home", connected=False, error="")
    assert health.items() == []


def test_ok__no_relay_is_no_fault() -> None:
    clock = VirtualClock()
    health = HealthTracker(EventBus(), clock)
    watch = RelayWatch(clock, health)
    watch.look("", connected=False, error="")
    clock.advance(100)
    watch.look("", connected=False, error="")
    assert health.items() == []


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid", "timedatectl"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "timedatectl"),
        ("the pinned certificate is outside its dates; check the clock", "timedatectl"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate", "ca_file"),
        ("Connection refused", "netcheck"),
    ],
)
def test_ok__mend(error: str, mend: str) -> None:
    assert mend in relay_mend(error)
