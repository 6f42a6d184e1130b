"""One versioned document: an envelope around a msgspec Struct.

Envelope (JSON): `format` is the version that wrote it, `readable_by` the oldest version that may read it, `sum` the
SHA-256 (hex) of the bytes of `data`. A release reads every older format through `migrations`, and a newer one when
`readable_by` allows it; fields that it does not know are kept when it writes the document back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from appliance.ports.store import StateStore
from appliance.types.errors import DecodeError, StateError
from appliance.types.keys import PublicKey, SecretKey

T = TypeVar("T")
Migration = Callable[[dict[str, Any]], dict[str, Any]]


class DamagedStateError(StateError):
    """A document's bytes are not what was written; `name` is its name in the store."""

    code = "state-damaged"

    def __init__(self, name: str, where: str, reason: str) -> None:
        super().__init__(
            f"{where} is damaged: {reason}",
            mend="restore it from a backup, or rename it away to start afresh (a new login is then needed)",
        )
        self.name = name


class NewerStateError(StateError):
    """A document was written by a release that this one cannot follow."""

    code = "state-newer"

    def __init__(self, where: str, wrote: int, needs: int, ours: int) -> None:
        super().__init__(
            f"{where} has format {wrote}, readable from format {needs} on; this release knows format {ours}",
            mend="install the newer release again, or restore the state that this release wrote",
        )


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    readable_by: int
    sum: str
    data: msgspec.Raw


def _to_builtin(value: Any) -> Any:
    if isinstance(value, SecretKey):
        return value.reveal_text()
    if isinstance(value, PublicKey):
        return str(value)
    raise TypeError(f"a document cannot hold {type(value).__name__}")


def _from_builtin(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, SecretKey | PublicKey):
        return kind.parse(value)
    raise TypeError(f"a document cannot hold {kind.__name__}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Document(Generic[T]):
    """Loads and saves one kind of document. `migrations[n]` turns the fields of format n into those of n + 1."""

    def __init__(
        self,
        store: StateStore,
        name: str,
        kind: type[T],
        *,
        format: int = 1,  # the word of the envelope
        readable_by: int = 1,
        migrations: Mapping[int, Migration] | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._kind = kind
        self._format = format
        self._readable_by = readable_by
        self._migrations = migrations or {}
        self._fields: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name

    def load(self) -> T | None:
        """The stored value, None when there is none. Raises `DamagedStateError`, `NewerStateError`, `StateError`."""
        data = self._store.read(self._name)
        if data is None:
            return None
        envelope = self._open(data)
        try:
            fields: dict[str, Any] = msgspec.json.decode(bytes(envelope.data), type=dict[str, Any])
            for version in range(envelope.format, self._format):
                fields = self._migrations[version](fields)
            value = msgspec.convert(fields, self._kind, dec_hook=_from_builtin)
        except (msgspec.MsgspecError, UnicodeDecodeError, DecodeError, KeyError, TypeError) as error:
            reason = "a field is not as expected" if isinstance(error, DecodeError) else str(error)
            raise DamagedStateError(self._name, self._store.where(self._name), reason) from None
        self._fields = fields
        return value

    def save(self, value: T) -> None:
        """Store durably. Raises `StateError`, and then the old value stays."""
        fields = msgspec.to_builtins(value, enc_hook=_to_builtin)
        merged = {**self._fields, **fields}
        data = msgspec.json.encode(merged)
        envelope = _Envelope(self._format, self._readable_by, _digest(data), msgspec.Raw(data))
        self._store.write(self._name, msgspec.json.encode(envelope) + b"\n")
        self._fields = merged

    def delete(self) -> None:
        self._fields = {}
        self._store.delete(self._name)

    def _open(self, data: bytes) -> _Envelope:
        where = self._store.where(self._name)
        try:
            envelope = msgspec.json.decode(data, type=_Envelope)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            reason = "it is empty" if not data else "it is no complete JSON document"
            raise DamagedStateError(self._name, where, reason) from None
        if envelope.format > self._format and envelope.readable_by > self._format:
            raise NewerStateError(where, envelope.format, envelope.readable_by, self._format)
        if envelope.sum != _digest(bytes(envelope.data)):
            raise DamagedStateError(self._name, where, "its checksum does not match")
        return envelope
