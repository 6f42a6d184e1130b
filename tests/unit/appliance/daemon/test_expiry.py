"""When people hear that the login runs out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from appliance.daemon.expiry import HEALTH, ExpiryWatch
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.types.errors import Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def health() -> HealthTracker:
    return HealthTracker(EventBus(), VirtualClock())


@pytest.mark.parametrize(
    ("left", "text", "severity"),
    [
        (timedelta(days=6, hours=5), "expires in 6 days", Severity.MEDIUM),
        (timedelta(days=1, hours=3), "expires in 27 hours", Severity.MEDIUM),
        (timedelta(hours=3), "expires in 3 hours", Severity.HIGH),
        (timedelta(minutes=40), "expires in 40 minutes", Severity.HIGH),
        (timedelta(seconds=5), "expires in a minute", Severity.HIGH),
        (timedelta(), "has expired", Severity.HIGH),
        (timedelta(days=-3), "has expired", Severity.HIGH),
    ],
)
def test_ok__said_in_time(health: HealthTracker, left: timedelta, text: str, severity: Severity) -> None:
    ExpiryWatch(health).look(NOW + left, NOW)
    (item,) = health.items()
    assert (item.code, item.severity) == (HEALTH, severity)
    assert text in item.text
    assert "waypost login" in item.mend


@pytest.mark.parametrize(("expiry", "now"), [(None, NOW), (NOW + timedelta(days=8), NOW), (NOW, None)])
def test_ok__nothing_to_say(health: HealthTracker, expiry: datetime | None, now: datetime | None) -> None:
    ExpiryWatch(health).look(expiry, now)
    assert health.items() == []


def test_ok__mended_by_a_new_login(health: HealthTracker) -> None:
    watch = ExpiryWatch(health)
    watch.look(NOW + timedelta(days=1), NOW)
    watch.look(NOW + timedelta(days=90), NOW)
    assert health.items() == []
