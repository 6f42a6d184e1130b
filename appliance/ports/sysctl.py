"""Named kernel settings, the journal that undoes them after a crash, and the twins of both.

Keys are paths below /proc/sys, for example `net/ipv4/ip_forward`: interface names may hold dots.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.types.errors import PrivilegeError


class SysctlError(PrivilegeError):
    """A kernel setting cannot be written."""

    code = "sysctl"


class SysctlUnansweredError(SysctlError):
    """Nobody said whether it was written: it may be, or will be."""


class SysctlPort(Protocol):
    async def read(self, key: str) -> str | None:
        """The value without surrounding space; None where the kernel has no such setting."""
        ...

    async def write(self, key: str, value: str) -> None:
        """Raises `SysctlError`."""
        ...

    async def children(self, key: str) -> list[str]:
        """Names below a directory of settings, sorted; empty where there is none."""
        ...


class Journal(Protocol):
    """One small JSON document that outlives a crash but not a reboot."""

    def load(self) -> dict[str, Any]:
        """The stored document; empty where there is none or where it is damaged."""
        ...

    def save(self, document: dict[str, Any]) -> None:
        """Replace the document atomically; an empty one removes it. Raises `ApplianceError`."""
        ...


@dataclass
class MemorySysctl:
    """The twin of `SysctlPort`. Turning forwarding on or off changes what the kernel changes along with it."""

    values: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    written: list[tuple[str, str]] = field(default_factory=list)

    async def read(self, key: str) -> str | None:
        return self.values.get(key)

    async def write(self, key: str, value: str) -> None:
        if self.read_only or key not in self.values:
            raise SysctlError(f"cannot write {key}: read-only or absent")
        self.written.append((key, value))
        changed = self.values[key] != value
        self.values[key] = value
        if changed and key == "net/ipv4/ip_forward":
            self._spread("net/ipv4/conf/", "/forwarding", value)
            self._spread("net/ipv4/conf/all", "/accept_redirects", "0" if value != "0" else "1")
        elif changed and key == "net/ipv6/conf/all/forwarding":
            self._spread("net/ipv6/conf/", "/forwarding", value)

    async def children(self, key: str) -> list[str]:
        start = key.rstrip("/") + "/"
        return sorted({name[len(start) :].partition("/")[0] for name in self.values if name.startswith(start)})

    def _spread(self, start: str, end: str, value: str) -> None:
        for key in self.values:
            if key.startswith(start) and key.endswith(end):
                self.values[key] = value


@dataclass
class MemoryJournal:
    """The twin of `Journal`; keeps text, so that only what JSON can hold survives."""

    text: str = ""

    def load(self) -> dict[str, Any]:
        return dict(json.loads(self.text)) if self.text else {}

    def save(self, document: dict[str, Any]) -> None:
        self.text = json.dumps(document) if document else ""
