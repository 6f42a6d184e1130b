"""Durable storage of small named documents, and the file operations below it.

Two seams: `StateStore` is what services use (a write is there whole or not at all, and stays after a power cut);
`Filesystem` is what the file-backed store asks of the operating system, one call per step, so that a test can stop it
after every one of them.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol


class StateStore(Protocol):
    """Names are relative paths of `/`-separated lower-case words, as in `profiles/1a2b/keys.json`."""

    def read(self, name: str) -> bytes | None:
        """The whole document, None when there is none. Raises `StateError`."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace atomically; durable when this returns. Raises `StateError`, and then the old document stays."""
        ...

    def delete(self, name: str) -> None:
        """Remove durably; a missing document is fine. Raises `StateError`."""
        ...

    def set_aside(self, name: str) -> str:
        """Rename a damaged document so that nothing overwrites it; returns where it is now. Raises `StateError`."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the documents directly in `folder` ("" = top), sorted; empty when there is none."""
        ...

    def where(self, name: str) -> str:
        """How to show a document's place to a person."""
        ...


class MemoryStore:
    """The twin of `StateStore`."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.writes: list[str] = []

    def read(self, name: str) -> bytes | None:
        return self.documents.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.documents[name] = bytes(data)
        self.writes.append(name)

    def delete(self, name: str) -> None:
        self.documents.pop(name, None)

    def set_aside(self, name: str) -> str:
        aside = f"{name}.damaged-{sum(key.startswith(name + '.damaged-') for key in self.documents) + 1}"
        self.documents[aside] = self.documents.pop(name)
        return aside

    def names(self, folder: str) -> list[str]:
        parent = PurePosixPath(folder) if folder else PurePosixPath(".")
        return sorted(name for name in self.documents if PurePosixPath(name).parent == parent)

    def where(self, name: str) -> str:
        return f"memory:{name}"


class Filesystem(Protocol):
    """File operations as steps; paths are absolute. All raise OSError."""

    def make_folder(self, path: str) -> None:
        """Create with mode 0700 if missing (parents exist)."""
        ...

    def read(self, path: str) -> bytes | None:
        """None when the file does not exist."""
        ...

    def create(self, path: str, data: bytes) -> None:
        """Write a new file of mode 0600, replacing a left-over of that name; not durable yet."""
        ...

    def sync_file(self, path: str) -> None:
        """Make a file's content durable."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old`; not durable yet."""
        ...

    def remove(self, path: str) -> None:
        """A missing file is fine; not durable yet."""
        ...

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        ...

    def list_folder(self, path: str) -> list[str]:
        """File names in a folder, empty when it does not exist."""
        ...


class PowerCutError(Exception):
    """The memory filesystem was stopped at the step that a test chose."""


class MemoryFilesystem:
    """The twin of `Filesystem`, with a page cache: what was not synced may be lost at a power cut.

    `fail_at` stops before that step (counted from 0). `after_power_cut` gives the disk as a reboot finds it:
    `kept=False` loses all that was not synced, `kept=True` keeps every name change but not the unsynced content
    (the order in which a careless file system writes: new names, empty files).
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = {"/"}
        self.steps: list[str] = []
        self.fail_at = fail_at
        self._synced: dict[str, bytes] = {}
        self._durable_names: dict[str, str] = {}
        self._identity: dict[str, str] = {}
        self._next = 0

    def _step(self, what: str) -> None:
        if self.fail_at is not None and len(self.steps) >= self.fail_at:
            raise PowerCutError(what)
        self.steps.append(what)

    def make_folder(self, path: str) -> None:
        self._step(f"make_folder {path}")
        self.folders.add(path)

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def create(self, path: str, data: bytes) -> None:
        self._step(f"create {path}")
        self._next += 1
        self._identity[path] = f"inode-{self._next}"
        self.files[path] = bytes(data)

    def sync_file(self, path: str) -> None:
        self._step(f"sync_file {path}")
        self._synced[self._identity[path]] = self.files[path]

    def rename(self, old: str, new: str) -> None:
        self._step(f"rename {old} {new}")
        self.files[new] = self.files.pop(old)
        self._identity[new] = self._identity.pop(old)

    def remove(self, path: str) -> None:
        self._step(f"remove {path}")
        self.files.pop(path, None)
        self._identity.pop(path, None)

    def sync_folder(self, path: str) -> None:
        self._step(f"sync_folder {path}")
        inside = {name: node for name, node in self._identity.items() if str(PurePosixPath(name).parent) == path}
        kept = {name: node for name, node in self._durable_names.items() if str(PurePosixPath(name).parent) != path}
        self._durable_names = {**kept, **inside}

    def list_folder(self, path: str) -> list[str]:
        return sorted(PurePosixPath(name).name for name in self.files if str(PurePosixPath(name).parent) == path)

    def after_power_cut(self, *, kept: bool) -> MemoryFilesystem:
        """The disk after the power came back."""
        disk = MemoryFilesystem()
        disk.folders = set(self.folders)
        for name, node in (self._identity if kept else self._durable_names).items():
            disk.files[name] = self._synced.get(node, b"")
            disk._identity[name] = node
            disk._synced[node] = disk.files[name]
        disk._durable_names = dict(disk._identity)
        disk._next = self._next
        return disk
