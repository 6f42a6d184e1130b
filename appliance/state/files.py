"""`StateStore` on files: write a new file, sync it, rename it over the old one, sync the folder.

Each document is a file of mode 0600 below one folder of mode 0700. At every moment the old or the new content is
there; a left-over temporary file of a crash is ignored and replaced by the next write.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath

from appliance.ports.store import Filesystem
from appliance.types.errors import StateError

_TEMPORARY = ".new"


class SystemFilesystem:
    """The machine's file system."""

    def make_folder(self, path: str) -> None:
        with suppress(FileExistsError):
            Path(path).mkdir(mode=0o700)

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, path: str, data: bytes) -> None:
        Path(path).unlink(missing_ok=True)  # a left-over could carry other rights
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def sync_file(self, path: str) -> None:
        self._sync(path, os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:
        Path(old).replace(new)

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def sync_folder(self, path: str) -> None:
        self._sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def list_folder(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(path).iterdir() if entry.is_file())
        except FileNotFoundError:
            return []

    def _sync(self, path: str, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FileStore:
    """A `StateStore` in the folder `root` (created with mode 0700 when missing; its parent exists)."""

    def __init__(self, root: str, filesystem: Filesystem | None = None) -> None:
        self._root = root.rstrip("/") or "/"
        self._files = filesystem or SystemFilesystem()
        self._lock = threading.Lock()  # coalesced writes come from a worker thread

    def where(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        try:
            return self._files.read(self._path(name))
        except OSError as error:
            raise self._refused("read", name, error) from error

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with self._lock:
            try:
                self._make_folders(name)
                self._files.create(path + _TEMPORARY, data)
                self._files.sync_file(path + _TEMPORARY)
                self._files.rename(path + _TEMPORARY, path)
                self._files.sync_folder(_parent(path))
            except OSError as error:
                raise self._refused("written", name, error) from error

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._lock:
            try:
                if self._files.read(path) is not None:
                    self._files.remove(path)
                    self._files.sync_folder(_parent(path))
            except OSError as error:
                raise self._refused("removed", name, error) from error

    def set_aside(self, name: str) -> str:
        path = self._path(name)
        with self._lock:
            try:
                taken = self._files.list_folder(_parent(path))
                own = f"{PurePosixPath(path).name}.damaged-"
                aside = f"{path}.damaged-{sum(entry.startswith(own) for entry in taken) + 1}"
                self._files.rename(path, aside)
                self._files.sync_folder(_parent(path))
            except OSError as error:
                raise self._refused("set aside", name, error) from error
        return aside

    def names(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        try:
            entries = self._files.list_folder(self._path(folder) if folder else self._root)
        except OSError as error:
            raise self._refused("listed", folder, error) from error
        return [prefix + entry for entry in entries if not entry.endswith(_TEMPORARY)]

    def _path(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise ValueError(f"not a document name: {name!r}")
        return f"{self._root}/{name}"

    def _make_folders(self, name: str) -> None:
        missing: list[str] = [self._root]
        for part in PurePosixPath(name).parts[:-1]:
            missing.append(f"{missing[-1]}/{part}")
        for folder in missing:
            self._files.make_folder(folder)
        for folder in missing[:-1]:
            self._files.sync_folder(folder)

    def _refused(self, verb: str, name: str, error: OSError) -> StateError:
        reason = error.strerror or str(error)
        mend = f"check the rights and free space of {self._root}, or give another --state-dir"
        return StateError(f"{self.where(name)} cannot be {verb}: {reason}", mend=mend)


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)
