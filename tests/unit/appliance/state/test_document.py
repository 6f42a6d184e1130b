from __future__ import annotations

import msgspec
import pytest

from appliance.ports.store import MemoryStore
from appliance.state.document import DamagedStateError, Document, NewerStateError
from appliance.types.keys import NodePrivateKey


class One(msgspec.Struct, frozen=True):
    name: str
    key: NodePrivateKey | None = None


class Two(msgspec.Struct, frozen=True):
    title: str
    key: NodePrivateKey | None = None
    extra: int = 0


def old_form(store: MemoryStore) -> Document[One]:
    return Document(store, "a.json", One)


def new_form(store: MemoryStore, readable_by: int = 1) -> Document[Two]:
    def rename(fields: dict[str, object]) -> dict[str, object]:
        return {"title": fields["name"], **fields}

    return Document(store, "a.json", Two, format=2, readable_by=readable_by, migrations={1: rename})


def test_ok__round_trip_keeps_secrets_out_of_repr() -> None:
    store = MemoryStore()
    value = One("x", NodePrivateKey(bytes(range(32))))
    old_form(store).save(value)
    loaded = old_form(store).load()
    assert loaded == value
    assert bytes(range(32)).hex() not in repr(loaded)


def test_ok__missing_is_none() -> None:
    assert old_form(MemoryStore()).load() is None


def test_ok__newer_release_reads_the_older_format() -> None:
    store = MemoryStore()
    old_form(store).save(One("x"))
    assert new_form(store).load() == Two("x")


def test_ok__older_release_reads_and_preserves_a_newer_readable_format() -> None:
    class OneInTwo(msgspec.Struct, frozen=True):
        title: str

    store = MemoryStore()
    new_form(store).save(Two("x", extra=7))
    older: Document[OneInTwo] = Document(store, "a.json", OneInTwo)
    assert older.load() == OneInTwo("x")
    older.save(OneInTwo("y"))
    envelope = msgspec.json.decode(store.documents["a.json"])
    assert envelope["data"]["extra"] == 7


def test_fail__newer_unreadable_format_is_refused_clearly_and_kept() -> None:
    store = MemoryStore()
    new_form(store, readable_by=2).save(Two("x"))
    before = store.documents["a.json"]
    with pytest.raises(NewerStateError, match=r"format 2.*this release knows format 1") as caught:
        old_form(store).load()
    assert "newer release" in caught.value.mend
    assert store.documents["a.json"] == before


def test_fail__every_truncation_and_bit_flip_is_noticed_and_kept() -> None:
    store = MemoryStore()
    value = One("x", NodePrivateKey(bytes(range(32))))
    old_form(store).save(value)
    whole = store.documents["a.json"]
    for length in range(len(whole) - 1):
        store.documents["a.json"] = whole[:length]
        with pytest.raises(DamagedStateError):
            old_form(store).load()
        assert store.documents["a.json"] == whole[:length]
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        store.documents["a.json"] = bytes(damaged)
        try:
            loaded = old_form(store).load()
        except (DamagedStateError, NewerStateError) as error:
            loaded, said = value, error.line()
        else:
            said = ""
        assert loaded == value
        assert bytes(range(32)).hex() not in said


def test_fail__wrong_types_are_damage() -> None:
    store = MemoryStore()
    Document(store, "a.json", dict[str, int]).save({"name": 5})
    with pytest.raises(DamagedStateError, match=r"a\.json is damaged"):
        old_form(store).load()
