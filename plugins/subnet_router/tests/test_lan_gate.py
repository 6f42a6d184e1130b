from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugins.subnet_router.lan_gate import CALM_S, FIRST_HOLD_S, LONGEST_HOLD_S, MISSES, SETTLED_S, LanGate

LAN = "192.168.10.0/24"


def until_served(gate: LanGate, now: float) -> float:
    """Seconds of good looks, one a second, until the LAN is served again."""
    start = now
    while gate.lost():
        now += 1.0
        gate.observe(LAN, now)
    return now - start


def unplug(gate: LanGate, now: float) -> None:
    for look in range(MISSES):
        gate.observe(LAN, now + look * SETTLED_S, link="no link")


def test_ok__never_heard_of_is_served() -> None:
    assert LanGate().lost() == {}


def test_ok__some_looks_in_a_row_and_not_at_once() -> None:
    gate = LanGate()
    for moment in (0.0, SETTLED_S / 3, SETTLED_S / 2):
        assert not gate.observe(LAN, moment, link="eth1 has no link")
    assert gate.lost() == {}
    assert gate.observe(LAN, SETTLED_S, link="eth1 has no link")
    assert gate.lost() == {LAN: "eth1 has no link"}
    other = LanGate()
    changes = [other.observe(LAN, float(second), probe="silent") for second in range(MISSES)]
    assert changes == [*[False] * (MISSES - 1), True]


def test_ok__one_good_look_forgives_misses() -> None:
    gate = LanGate()
    for second in range(20):
        gate.observe(LAN, float(second), probe="" if second % MISSES == 0 else "silent")
    assert gate.lost() == {}


def test_ok__flapping_waits_longer_each_time() -> None:
    gate, now, waits = LanGate(), 0.0, []
    for _ in range(7):
        unplug(gate, now)
        waits.append(until_served(gate, now))
        now += waits[-1] + 1
    assert [round(wait) for wait in waits[:3]] == [FIRST_HOLD_S + 1, 2 * FIRST_HOLD_S + 1, 4 * FIRST_HOLD_S + 1]
    assert waits[-1] == LONGEST_HOLD_S + 1
    unplug(gate, now + CALM_S)
    assert until_served(gate, now + CALM_S) == FIRST_HOLD_S + 1


def test_ok__what_is_not_offered_is_forgotten() -> None:
    gate = LanGate()
    unplug(gate, 0.0)
    gate.keep(frozenset())
    assert gate.lost() == {}


@given(st.lists(st.sampled_from(["", "silent", "link"]), max_size=200))
def test_ok__never_back_before_its_time(looks: list[str]) -> None:
    gate, lost_at = LanGate(), None
    for second, look in enumerate(looks):
        link, probe = ("no link", "") if look == "link" else ("", look)
        changed = gate.observe(LAN, float(second), link=link, probe=probe)
        if changed and gate.lost():
            lost_at = second
        elif changed:
            assert lost_at is not None
            assert second - lost_at > FIRST_HOLD_S
            assert set(looks[second - int(FIRST_HOLD_S) : second + 1]) == {""}
