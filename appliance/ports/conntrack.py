"""The kernel's connection tracking: flows that it knows, how to make it forget some, and the in-memory twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from appliance.types.errors import ApplianceError, Severity


class ConntrackError(ApplianceError):
    """Flows could not be read or removed; those that were asked for may go on."""

    code = "conntrack"
    severity = Severity.HIGH


class Flow(NamedTuple):
    """The first packet of a flow as its opener sent it, before any NAT.

    `source` and `destination` are addresses as integers, for there may be 100,000 flows. Ports are 0 where the protocol
    has none; `icmp_type` is -1 for other protocols than ICMP and ICMPv6.
    """

    version: int
    protocol: int
    source: int
    destination: int
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = -1
    icmp_code: int = 0


class ConntrackPort(Protocol):
    """Both methods raise `ConntrackError`."""

    async def find(self, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
        """Flows of both IP versions whose mark equals `mark` under `mask` and that are wanted.

        `wanted` runs in another thread, perhaps 100,000 times: it must be quick and use no state that changes.
        """
        ...

    async def remove(self, flows: list[Flow]) -> None:
        """Forget these flows; those that ended meanwhile are no error."""
        ...


class MemoryConntrack:
    """The twin of `ConntrackPort`."""

    def __init__(self) -> None:
        self.flows: dict[Flow, int] = {}
        """Flow to mark."""
        self.searches = 0
        self.refuse = ""

    async def find(self, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
        if self.refuse:
            raise ConntrackError(self.refuse)
        self.searches += 1
        return [flow for flow, held in self.flows.items() if held & mask == mark and wanted(flow)]

    async def remove(self, flows: list[Flow]) -> None:
        if self.refuse:
            raise ConntrackError(self.refuse)
        for flow in flows:
            self.flows.pop(flow, None)
