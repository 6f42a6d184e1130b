from __future__ import annotations

from appliance.daemon.timestamps import TimestampKeeper, later
from appliance.ports.clock import VirtualClock
from appliance.ports.store import MemoryStore
from appliance.state.document import Document
from appliance.state.profiles import Handshakes

STAMP = bytes.fromhex("400000006543210a00ffff00")


def keeper(store: MemoryStore, clock: VirtualClock | None = None) -> TimestampKeeper:
    return TimestampKeeper(Document(store, "handshakes.json", Handshakes), clock or VirtualClock())


def test_ok__nothing_stored_is_zero() -> None:
    assert keeper(MemoryStore()).load() == bytes(12)


async def test_ok__orderly_end_gives_back_the_exact_value() -> None:
    store = MemoryStore()
    first = keeper(store)
    first.note(STAMP)
    await first.finish()
    assert keeper(store).load() == STAMP


async def test_ok__crash_gives_back_more_than_can_have_been_sent() -> None:
    store, clock = MemoryStore(), VirtualClock()
    first = keeper(store, clock)
    first.note(STAMP)
    await first.poll()
    clock.advance(59)
    first.note(later(STAMP, 59))
    await first.poll()
    assert keeper(store).load() > later(STAMP, 59)
    assert len(store.writes) == 1


async def test_ok__running_again_after_an_orderly_end_takes_that_back_at_once() -> None:
    store = MemoryStore()
    first = keeper(store)
    first.note(STAMP)
    await first.finish()
    second = keeper(store)
    second.load()
    second.note(later(STAMP, 1))
    await second.poll()
    assert keeper(store).load() > later(STAMP, 60)


def test_ok__damaged_document_counts_as_none() -> None:
    store = MemoryStore()
    store.documents["handshakes.json"] = b"{"
    assert keeper(store).load() == bytes(12)


async def test_ok__idle_engine_writes_nothing() -> None:
    store = MemoryStore()
    idle = keeper(store)
    idle.note(bytes(12))
    await idle.poll()
    await idle.finish()
    assert store.writes == []
