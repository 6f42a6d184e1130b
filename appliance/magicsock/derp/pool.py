"""The DERP client pool: which region carries a packet, which connections stay open (derp spec 7.2, 7.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from appliance.magicsock.derp.interface import DerpSink
from appliance.magicsock.derp.latency import measure_https
from appliance.magicsock.derp.link import RegionLink
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.ports.streams import StreamDialer
from appliance.types.ids import NO_REGION, RegionId
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap

IDLE_CLOSE_S = 60.0
SWEEP_S = 15.0
MAX_ROUTES = 16384

_log = logging.getLogger(__name__)


class DerpClientPool:
    """Implements `interface.DerpPool`. Needs a running event loop from the first dial on."""

    def __init__(
        self, dialer: StreamDialer, clock: Clock, randomness: Randomness, sink: DerpSink, *, ca_file: str = ""
    ) -> None:
        self._dialer = dialer
        self._clock = clock
        self._randomness = randomness
        self._sink = sink
        self._ca_file = ca_file
        self._key: NodePrivateKey | None = None
        self._map = DerpMap()
        self._home = NO_REGION
        self._links: dict[RegionId, RegionLink] = {}
        self._tasks: dict[RegionLink, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._routes: dict[NodePublicKey, RegionLink] = {}
        self._frames_at: dict[RegionId, float] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    # Settings

    def set_private_key(self, key: NodePrivateKey) -> None:
        if key == self._key:
            return
        self._key = key
        for region in list(self._links):
            self._close_link(region)
        self._open_home()

    def set_derp_map(self, derp_map: DerpMap) -> None:
        old, self._map = self._map, derp_map
        for region_id in old.regions:
            if derp_map.regions.get(region_id) != old.regions[region_id]:
                self._close_link(region_id)
                self._frames_at.pop(region_id, None)
        self._open_home()

    def set_home(self, region: RegionId) -> None:
        self._home = region
        for region_id, link in self._links.items():
            link.set_home(region_id == region)
        self._open_home()

    def _open_home(self) -> None:
        if self._home:
            self._link_to(self._home)

    # Packets

    def send(self, peer: NodePublicKey, home: RegionId, packets: Sequence[bytes]) -> bool:
        link = self._choose(peer, home)
        if link is None:
            return False
        link.send(peer, packets)
        return True

    def _choose(self, peer: NodePublicKey, home: RegionId) -> RegionLink | None:
        """Open connection to the peer's home, else the one it was heard on, else dial its home (7.2)."""
        link = self._links.get(home)
        if link is not None and link.connected:
            return link
        return self._routes.get(peer) or self._link_to(home)

    def _link_to(self, region_id: RegionId) -> RegionLink | None:
        """The link of a region, dialled now if need be; None when it cannot be dialled."""
        link = self._links.get(region_id)
        region = self._map.regions.get(region_id)
        if link is not None or region is None or self._key is None or self._closed:
            return link
        link = RegionLink(
            region,
            self._key,
            self._dialer,
            self._clock,
            self._randomness,
            self,
            is_home=region_id == self._home,
            ca_file=self._ca_file,
        )
        self._links[region_id] = link
        loop = asyncio.get_running_loop()
        task = self._tasks[link] = loop.create_task(link.run(), name=f"derp-{region_id}")
        task.add_done_callback(partial(self._link_ended, link))
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return link

    # Questions

    def last_frame_at(self, region: RegionId) -> float | None:
        link = self._links.get(region)
        if link is not None and link.last_frame_at is not None:
            return link.last_frame_at
        return self._frames_at.get(region)

    def connected_regions(self) -> Sequence[RegionId]:
        return [region for region, link in self._links.items() if link.connected]

    def last_error(self, region: RegionId) -> str:
        """Why the region's last connection ended or could not be made; "" when nothing is wrong."""
        link = self._links.get(region)
        return "" if link is None or link.connected else link.last_error

    async def measure_https(self, region: RegionId) -> float | None:
        wanted = self._map.regions.get(region)
        return await measure_https(self._dialer, self._clock, wanted, self._ca_file) if wanted is not None else None

    # Life

    async def rebind(self, local_ips: Sequence[str] | None = None) -> None:
        """The network changed. `local_ips` are the addresses of the new default interface, if known (7.3)."""
        links = list(self._links.values())
        for link in links:
            if local_ips is not None and link.connected and not link.is_from(local_ips):
                link.drop()
        await asyncio.gather(*(link.check() for link in links))
        self._open_home()

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for region in list(self._links):
            self._close_link(region)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _link_ended(self, link: RegionLink, task: asyncio.Task[None]) -> None:
        """A link that broke in an unforeseen way is made anew when it is next wanted."""
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("DERP connection to region %d failed", link.region.id, exc_info=failure)
            if self._tasks.pop(link, None) is not None:
                self._links.pop(link.region.id, None)
                self._forget_routes(link)

    def _close_link(self, region_id: RegionId) -> None:
        link = self._links.pop(region_id, None)
        if link is None:
            return
        if link.last_frame_at is not None:
            self._frames_at[region_id] = link.last_frame_at
        self._forget_routes(link)
        task = self._tasks.pop(link)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    def _sweep(self) -> None:
        """Close connections, other than home, that carried nothing of ours for a minute."""
        self.close_idle(self._clock.now())
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep) if self._links else None

    def close_idle(self, now: float) -> None:
        for region_id, link in list(self._links.items()):
            if region_id != self._home and now - link.last_write_at >= IDLE_CLOSE_S:
                self._close_link(region_id)

    def _forget_routes(self, link: RegionLink) -> None:
        for peer in [peer for peer, found in self._routes.items() if found is link]:
            del self._routes[peer]

    # What links tell

    def link_connected(self, link: RegionLink) -> None:
        self._sink.derp_connected(link.region.id)

    def link_received(self, link: RegionLink, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        if self._routes.get(source) is not link:
            if len(self._routes) >= MAX_ROUTES:
                del self._routes[next(iter(self._routes))]
            self._routes[source] = link
        self._sink.derp_received(link.region.id, source, packets)

    def link_peer_gone(self, link: RegionLink, peer: NodePublicKey, not_here: bool) -> None:
        if self._routes.get(peer) is link:
            del self._routes[peer]
        self._sink.derp_peer_gone(link.region.id, peer, not_here)

    def link_lost(self, link: RegionLink, error: str) -> None:
        self._forget_routes(link)
        self._sink.derp_disconnected(link.region.id, error)
