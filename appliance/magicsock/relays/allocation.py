"""What a relay was asked, and when (magicsock-disco spec 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.magicsock.relays.timing import ALLOCATION_LIMIT, ALLOCATION_RETRY
from appliance.types.keys import NodePublicKey


@dataclass(slots=True)
class Allocation:
    """A request to `server` for a way to `peer`: repeated once (`again`), then given up."""

    server: NodePublicKey
    peer: NodePublicKey
    at: float
    again: bool = False

    @property
    def next_at(self) -> float:
        return self.at + (ALLOCATION_LIMIT if self.again else ALLOCATION_RETRY)
