"""`SysctlPort` on /proc/sys, and the `Journal` file in the run directory. Files there are read and written at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance.ports.sysctl import SysctlError
from appliance.types.errors import StateError

MAX_JOURNAL_BYTES = 1 << 20


class ProcSysctl:
    """/proc/sys. `net/` is that of the reading thread's network namespace, so all work stays in the loop's thread."""

    def __init__(self, root: str = "/proc/sys") -> None:
        self._root = Path(root)

    async def read(self, key: str) -> str | None:
        try:
            return self._path(key).read_text().strip()
        except OSError:
            return None

    async def write(self, key: str, value: str) -> None:
        try:
            with self._path(key).open("r+") as setting:  # never creates
                setting.write(value)
        except OSError as error:
            raise SysctlError(
                f"cannot set {key.replace('/', '.')} to {value}: {error.strerror}",
                mend="run with CAP_NET_ADMIN and a writable /proc/sys, or set it in /etc/sysctl.d",
            ) from error

    async def children(self, key: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self._path(key).iterdir())
        except OSError:
            return []

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise SysctlError(f"not a kernel setting: {key!r}")
        return self._root / key


class FileJournal:
    """One JSON file, replaced atomically. It belongs on a file system that a reboot empties (/run)."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                document = json.loads(file.read(MAX_JOURNAL_BYTES))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def save(self, document: dict[str, Any]) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        try:
            if not document:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(document))
            beside.replace(self._path)
        except OSError as error:
            raise StateError(f"cannot write {self._path}: {error.strerror}", mend="check the run directory") from error
