"""Starting processes that each run one plugin, and learning how they ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from appliance.ports.channels import Channel

MEMORY_EXIT = 70
"""Exit status of a plugin process that ran out of its memory."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exit `status`, or negative the signal; None: nobody knows."""

    status: int | None

    def words(self) -> str:
        if self.status is None:
            return "went away"
        if self.status == MEMORY_EXIT:
            return "used up its memory"
        return f"was ended by signal {-self.status}" if self.status < 0 else f"ended with status {self.status}"


class PluginProcessPort(Protocol):
    """A running process."""

    @property
    def channel(self) -> Channel: ...

    def kill(self) -> None:
        """At once; idempotent."""
        ...

    async def ended(self) -> Exit:
        """Wait for its end."""
        ...


class ProcessLauncher(Protocol):
    async def launch(self, name: str, memory_bytes: int) -> PluginProcessPort:
        """Start a process for the plugin `name`. Raises `ApplianceError`."""
        ...

    async def close(self) -> None:
        """End all that still run."""
        ...
