from __future__ import annotations

from appliance.ports.randomness import SeededRandomness
from appliance.ports.store import MemoryStore
from appliance.state.profiles import Prefs, Profiles, StoredKeys


def profiles(store: MemoryStore, seed: int = 1) -> Profiles:
    return Profiles(store, SeededRandomness(seed))


def test_ok__machine_key_is_made_once() -> None:
    store = MemoryStore()
    first = profiles(store, 1).machine_key()
    assert profiles(store, 2).machine_key() == first


def test_ok__first_start_makes_one_profile_and_keeps_it() -> None:
    store = MemoryStore()
    assert profiles(store, 1).current().id == profiles(store, 2).current().id
    assert len(profiles(store).list().profiles) == 1


def test_ok__documents_live_below_their_profile() -> None:
    store = MemoryStore()
    made = profiles(store)
    profile = made.current()
    profile.keys.save(StoredKeys(node_key=made.new_node_key(), control_url="https://c.example"))
    profile.prefs.save(Prefs(want_running=True, plugins={"subnet_router": {"snat": False}}))
    again = profiles(store).current()
    keys, prefs = again.keys.load(), again.prefs.load()
    assert keys is not None
    assert keys.control_url == "https://c.example"
    assert prefs == Prefs(want_running=True, plugins={"subnet_router": {"snat": False}})
    assert f"profiles/{profile.id}/keys.json" in store.documents


def test_ok__description_is_written_only_on_change() -> None:
    store = MemoryStore()
    made = profiles(store)
    made.describe_current(control_url="https://c.example", login_name="u@example")
    writes = len(store.writes)
    made.describe_current(control_url="https://c.example", login_name="u@example")
    assert len(store.writes) == writes
    assert made.list().profiles[0].login_name == "u@example"


def test_ok__several_profiles() -> None:
    store = MemoryStore()
    made = profiles(store)
    first = made.list().profiles[0]
    work = made.make("work")
    assert made.find("work") is None, "not before it is put"
    made.open(work).keys.save(StoredKeys(node_key=made.new_node_key()))
    made.put(work, select=True)
    assert (made.current().id, made.find("work"), made.find(work.id)) == (work.id, work, work)
    made.describe_current(control_url="https://c.example", login_name="u")
    assert made.find("work").login_name == "u"  # type: ignore[union-attr]  # it was put
    made.put(first, select=True)
    store.write(f"profiles/{work.id}/plugins/x.json", b"{}")
    made.remove(made.find("work"))  # type: ignore[arg-type]  # it was put
    assert [each.name for each in made.list().profiles] == ["default"]
    assert not [name for name in store.documents if work.id in name]


def test_ok__a_list_of_an_older_version_has_no_names() -> None:
    store = MemoryStore()
    made = profiles(store)
    made.put(made.make(""))
    nameless = made.list().profiles[1]
    assert (nameless.shown_name, made.find(nameless.id)) == (nameless.id, nameless)
