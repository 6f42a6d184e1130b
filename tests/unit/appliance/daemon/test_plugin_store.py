from __future__ import annotations

from appliance.daemon.plugin_store import PluginStore
from appliance.ports.clock import VirtualClock
from appliance.ports.store import MemoryStore
from appliance.types.errors import StateError


def made(store: MemoryStore, clock: VirtualClock | None = None) -> tuple[PluginStore, list[StateError]]:
    errors: list[StateError] = []
    return PluginStore(store, "profiles/1", clock or VirtualClock(), errors.append), errors


async def test_ok__values_survive_and_plugins_are_apart() -> None:
    store = MemoryStore()
    first, _ = made(store)
    first.put("a", "x", b"\x00\xff")
    first.put("b", "x", b"other")
    first.delete("b", "x")
    await first.flush()
    second, _ = made(store)
    assert second.get("a", "x") == b"\x00\xff"
    assert second.get("b", "x") is None


async def test_ok__many_puts_are_one_write_a_minute() -> None:
    store, clock = MemoryStore(), VirtualClock()
    plugin_store, _ = made(store, clock)
    for number in range(60):
        plugin_store.put("a", "x", b"%d" % number)
        await plugin_store.poll()
        clock.advance(1)
    assert len(store.writes) == 1
    await plugin_store.poll()
    assert len(store.writes) == 2


def test_fail__damaged_values_are_set_aside_and_told() -> None:
    store = MemoryStore()
    store.documents["profiles/1/plugins/a.json"] = b"{broken"
    plugin_store, errors = made(store)
    assert plugin_store.get("a", "x") is None
    assert "set aside" in errors[0].text
    assert b"{broken" in store.documents.values()
