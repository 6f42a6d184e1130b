from __future__ import annotations

import pytest

from appliance.ports.clock import VirtualClock
from appliance.state.coalesce import CoalescedWriter
from appliance.types.errors import StateError


async def test_ok__at_most_one_write_a_minute() -> None:
    clock, writes = VirtualClock(), []
    writer = CoalescedWriter(lambda: writes.append(clock.now()), clock)
    for _ in range(180):
        writer.mark()
        await writer.poll()
        clock.advance(1)
    assert writes == [1000.0, 1060.0, 1120.0]


async def test_ok__nothing_changed_writes_nothing_and_flush_does_not_wait() -> None:
    clock, writes = VirtualClock(), []
    writer = CoalescedWriter(lambda: writes.append(1), clock)
    assert not await writer.flush()
    writer.mark()
    assert await writer.poll()
    writer.mark()
    assert not await writer.poll()
    assert await writer.flush()
    assert len(writes) == 2


async def test_fail__refused_write_is_reported_and_tried_again() -> None:
    def refuse() -> None:
        raise StateError("disk full")

    clock, errors = VirtualClock(), []
    writer = CoalescedWriter(refuse, clock, on_error=errors.append)
    writer.mark()
    assert not await writer.poll()
    clock.advance(60)
    assert not await writer.poll()
    assert [error.text for error in errors] == ["disk full", "disk full"]
    loud = CoalescedWriter(refuse, clock)
    loud.mark()
    with pytest.raises(StateError):
        await loud.flush()
