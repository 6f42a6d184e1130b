from __future__ import annotations

from appliance.health.tracker import HealthTracker
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.types.errors import PrivilegeError, Severity
from appliance.types.events import HealthChanged


def made() -> tuple[HealthTracker, VirtualClock, list[HealthChanged]]:
    bus, clock, seen = EventBus(), VirtualClock(), []
    bus.subscribe(HealthChanged, seen.append)
    return HealthTracker(bus, clock), clock, seen


def test_ok__set_shows_and_clear_mends() -> None:
    tracker, clock, seen = made()
    since = clock.wall_now()
    tracker.set("no-derp-home", "No relay in reach.", mend="check the firewall", severity=Severity.HIGH)
    clock.advance(5)
    (item,) = tracker.items()
    assert (item.code, item.since, item.mend) == ("no-derp-home", since, "check the firewall")
    tracker.clear("no-derp-home")
    assert tracker.items() == []
    assert [(event.code, event.broken) for event in seen] == [("no-derp-home", True), ("no-derp-home", False)]


def test_ok__same_words_publish_once_and_keep_since() -> None:
    tracker, clock, seen = made()
    tracker.set("x", "one")
    since = tracker.items()[0].since
    clock.advance(3)
    tracker.set("x", "one")
    assert len(seen) == 1
    tracker.set("x", "two")
    assert len(seen) == 2
    assert tracker.items()[0].since == since


def test_ok__delayed_item_shows_after_its_time_only() -> None:
    tracker, clock, seen = made()
    tracker.set("slow", "text", after_s=10)
    clock.advance(9)
    tracker.poll()
    assert tracker.items() == []
    assert seen == []
    clock.advance(1)
    tracker.poll()
    assert [item.code for item in tracker.items()] == ["slow"]


def test_ok__repeated_set_does_not_postpone_and_clear_ends_the_wait() -> None:
    tracker, clock, _ = made()
    tracker.set("slow", "text", after_s=10)
    clock.advance(6)
    tracker.set("slow", "text", after_s=10)
    clock.advance(5)
    tracker.poll()
    assert tracker.items()
    tracker.set("other", "text", after_s=10)
    tracker.clear("other")
    clock.advance(20)
    tracker.poll()
    assert [item.code for item in tracker.items()] == ["slow"]


def test_ok__order_is_by_severity() -> None:
    tracker, _, _ = made()
    tracker.set("a", "t", severity=Severity.LOW)
    tracker.set("b", "t", severity=Severity.HIGH)
    tracker.set_error(PrivilegeError("no TUN", mend="load tun", code="tun"))
    assert [item.code for item in tracker.items()] == ["b", "tun", "a"]


def test_ok__items_that_services_publish_are_observed() -> None:
    bus, clock = EventBus(), VirtualClock()
    tracker = HealthTracker(bus, clock)
    bus.subscribe(HealthChanged, tracker.observe)
    tracker.set("own", "text", severity=Severity.HIGH)
    bus.publish(HealthChanged("control-unreachable", True, "no answer", "wait"))
    assert [(item.code, item.severity) for item in tracker.items()] == [
        ("own", Severity.HIGH),
        ("control-unreachable", Severity.MEDIUM),
    ]
    bus.publish(HealthChanged("trifle", True, "text", severity=Severity.LOW))
    assert tracker.items()[-1].severity == Severity.LOW
    for code in ("control-unreachable", "trifle"):
        bus.publish(HealthChanged(code, False))
    tracker.clear("own")
    assert tracker.items() == []
