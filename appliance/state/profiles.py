"""Profiles: one login each, with its own keys and preferences. The machine key is shared by all of them.

Layout below the state folder: `machine.json`, `profiles.json` (which profile is current), and per profile
`profiles/<id>/keys.json`, `prefs.json`, `handshakes.json`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.ports.randomness import Randomness
from appliance.ports.store import StateStore
from appliance.state.document import Document
from appliance.types.ids import ProfileId
from appliance.types.keys import MachinePrivateKey, NodePrivateKey, NodePublicKey

FIRST_NAME = "default"


class MachineKey(msgspec.Struct, frozen=True):
    """`machine.json`: identity of this install toward control."""

    private_key: MachinePrivateKey


class ProfileEntry(msgspec.Struct, frozen=True):
    """One line of `profiles.json`; `login_name` is for people only. `name` is unique, "" in files of older versions."""

    id: str
    control_url: str = ""
    login_name: str = ""
    name: str = ""

    @property
    def shown_name(self) -> str:
        return self.name or self.id


class ProfileList(msgspec.Struct, frozen=True):
    current: str
    profiles: tuple[ProfileEntry, ...]


class StoredKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`keys.json`: a node key that control accepted. `old_node_key` is the one that it replaced.

    `control_url` is the server that these keys were registered with.
    """

    node_key: NodePrivateKey
    old_node_key: NodePublicKey | None = None
    control_url: str = ""


class Prefs(msgspec.Struct, frozen=True, kw_only=True):
    """`prefs.json`: what `waypost up` and `waypost set` chose; empty values leave the choice to the configuration.

    `plugins` maps a plugin's name to settings that override its table of the configuration file.
    """

    want_running: bool = False
    logged_out: bool = False
    control_url: str = ""
    hostname: str = ""
    advertise_tags: tuple[str, ...] = ()
    shields_up: bool = False
    operator: str = ""
    ca_file: str = ""
    plugins: dict[str, dict[str, Any]] = {}


class Handshakes(msgspec.Struct, frozen=True):
    """`handshakes.json`: greatest WireGuard timestamp sent (12 bytes, hex).

    `complete` says that the process ended in order, so that none greater was sent after this was written.
    """

    sent: str = ""
    complete: bool = False


class Profile:
    """The documents of one profile."""

    def __init__(self, store: StateStore, profile_id: ProfileId) -> None:
        folder = f"profiles/{profile_id}"
        self.id = profile_id
        self.folder = folder
        self.keys: Document[StoredKeys] = Document(store, f"{folder}/keys.json", StoredKeys)
        self.prefs: Document[Prefs] = Document(store, f"{folder}/prefs.json", Prefs)
        self.handshakes: Document[Handshakes] = Document(store, f"{folder}/handshakes.json", Handshakes)


class Profiles:
    """All profiles of a state folder."""

    def __init__(self, store: StateStore, randomness: Randomness) -> None:
        self._store = store
        self._randomness = randomness
        self._machine: Document[MachineKey] = Document(store, "machine.json", MachineKey)
        self._list: Document[ProfileList] = Document(store, "profiles.json", ProfileList)

    def machine_key(self) -> MachinePrivateKey:
        """The stored machine key, made and stored at the first call. Raises `StateError`."""
        stored = self._machine.load()
        if stored is None:
            stored = MachineKey(MachinePrivateKey.from_seed(self._randomness.bytes(32)))
            self._machine.save(stored)
        return stored.private_key

    def list(self) -> ProfileList:
        """The profiles; an empty state folder gets a first one. Raises `StateError`."""
        stored = self._list.load()
        if stored is None:
            first = ProfileEntry(self._new_id(), name=FIRST_NAME)
            stored = ProfileList(first.id, (first,))
            self._list.save(stored)
        return stored

    def current(self) -> Profile:
        """Raises `StateError`."""
        return Profile(self._store, ProfileId(self.list().current))

    def describe_current(self, *, control_url: str, login_name: str) -> None:
        """Note in the list where the current profile is logged in; writes only when something changed."""
        known = self.list()
        former = next((each for each in known.profiles if each.id == known.current), ProfileEntry(known.current))
        self.put(msgspec.structs.replace(former, control_url=control_url, login_name=login_name))

    def find(self, name: str) -> ProfileEntry | None:
        """By name, else by id."""
        entries = self.list().profiles
        named = (each for each in entries if each.shown_name == name)
        return next(named, None) or next((each for each in entries if each.id == name), None)

    def open(self, entry: ProfileEntry) -> Profile:
        """Its documents, which need not exist yet."""
        return Profile(self._store, ProfileId(entry.id))

    def make(self, name: str) -> ProfileEntry:
        """A new entry; it is in the list once `put` has stored it."""
        return ProfileEntry(self._new_id(), name=name)

    def put(self, entry: ProfileEntry, *, select: bool = False) -> None:
        """Store an entry; `select` makes it the current profile of the next start. Writes only what differs."""
        known = self.list()
        if any(each.id == entry.id for each in known.profiles):
            entries = tuple(entry if each.id == entry.id else each for each in known.profiles)
        else:
            entries = (*known.profiles, entry)
        wanted = ProfileList(entry.id if select else known.current, entries)
        if wanted != known:
            self._list.save(wanted)

    def remove(self, entry: ProfileEntry) -> None:
        """Forget a profile and all of its documents; not the current one."""
        known = self.list()
        assert entry.id != known.current
        self._list.save(ProfileList(known.current, tuple(each for each in known.profiles if each.id != entry.id)))
        folder = f"profiles/{entry.id}"
        for place in (folder, f"{folder}/plugins"):
            for document in self._store.names(place):
                if "." in document:  # the rest are folders
                    self._store.delete(document)

    def new_node_key(self) -> NodePrivateKey:
        return NodePrivateKey.from_seed(self._randomness.bytes(32))

    def _new_id(self) -> str:
        return self._randomness.bytes(4).hex()
