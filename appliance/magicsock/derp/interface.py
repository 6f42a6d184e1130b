"""What path finding asks of the DERP connections and what it is told (derp spec section 7); types only.

All calls are made in the event loop's thread; those that are not async are quick and never block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.types.ids import RegionId
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap


class DerpSink(Protocol):
    """What the pool tells path finding."""

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        """Packets (disco or WireGuard) that `source` sent through `region`, in order."""
        ...

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        """`peer` left the region, or (`not_here`) was never connected to it."""
        ...

    def derp_connected(self, region: RegionId) -> None:
        """The server accepted us."""
        ...

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        """An accepted connection ended; `error` is empty when we closed it."""
        ...


class DerpPool(Protocol):
    """Connections to DERP regions, dialled when needed. The implementation is `pool.DerpClientPool`."""

    def set_private_key(self, key: NodePrivateKey) -> None:
        """Our identity on every connection; a change closes all and dials home again."""
        ...

    def set_derp_map(self, derp_map: DerpMap) -> None:
        """Regions that may be dialled; connections to changed or removed regions are closed."""
        ...

    def set_home(self, region: RegionId) -> None:
        """The region whose connection is kept for ever; 0 = none."""
        ...

    def send(self, peer: NodePublicKey, home: RegionId, packets: Sequence[bytes]) -> bool:
        """Queue packets toward `peer`, whose home region is `home` (0 = unknown). False: nowhere to send."""
        ...

    def last_frame_at(self, region: RegionId) -> float | None:
        """When the last frame came from the region (`Clock.now`), None if never on the present map."""
        ...

    def last_error(self, region: RegionId) -> str:
        """Why the last attempt to reach a region failed, "" while it is connected or was not tried."""
        ...

    def connected_regions(self) -> Sequence[RegionId]: ...

    async def measure_https(self, region: RegionId) -> float | None:
        """Seconds of one latency-check request on a warm connection (derp spec 9.6), None when it fails."""
        ...

    async def rebind(self) -> None:
        """The host's network changed: drop what no longer works, dial home again (derp spec 7.3)."""
        ...

    async def close(self) -> None: ...
