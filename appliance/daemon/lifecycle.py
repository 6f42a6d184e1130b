"""What outlives a run of the gateway and what a run must notice of the machine: the saved netmap, the peers'
handshakes, settings on trial, the clocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from appliance.daemon.clock_watch import ClockWatch
from appliance.daemon.expiry import ExpiryWatch
from appliance.daemon.parts import Core
from appliance.daemon.relay_watch import RelayWatch
from appliance.daemon.saved_netmap import SavedNetmap, netmap_document
from appliance.daemon.trial import Trial
from appliance.netmap.client import ControlClient
from appliance.netmap.store import NetmapStore
from appliance.ports.engine import EngineDiff
from appliance.ports.store import StateStore
from appliance.state.profiles import Prefs
from appliance.types.errors import StateError
from appliance.types.events import LinkChanged, NetmapChanged
from appliance.types.keys import NodePublicKey


class Lifecycle:
    """`put_back` makes former preferences the present ones again."""

    def __init__(self, core: Core, store: StateStore, put_back: Callable[[Prefs], Awaitable[None]]) -> None:
        self._core = core
        self._client: ControlClient | None = None
        self._greet = core.peer_handshakes.recent()
        folder, clock, health = core.profile.folder, core.clock, core.health
        disco_key = core.magicsock.disco_private_key
        self.saved = SavedNetmap(netmap_document(store, folder), disco_key, clock, health, self._not_written)
        self.trial = Trial(store, folder, clock, health, put_back)
        self._relay = RelayWatch(clock, health)
        self._expiry = ExpiryWatch(health)
        self._clocks = ClockWatch(clock, health, on_sleep=self._slept, on_jump=self._jumped)
        core.bus.subscribe(NetmapChanged, lambda event: self.saved.netmap_changed(event.diff))

    def restore(self, node_key: NodePublicKey, control_url: str) -> NetmapStore | None:
        """The netmap of the run before, for a client that has none yet."""
        return self.saved.restore(node_key, control_url)

    def follow(self, client: ControlClient | None, control_url: str = "") -> None:
        """The client that speaks with control from now on; None: nobody does."""
        self._client = client
        self.saved.follow(client, control_url)

    async def tick(self, *, configured: bool) -> None:
        """Called about once a second. `configured`: the engine knows the peers."""
        self._look_at_control()
        self._look_at_the_relay()
        self._look_at_the_clocks()
        await self.trial.poll()
        if configured and self._greet:
            greet, self._greet = self._greet, ()
            await self._core.engine.apply(EngineDiff(greet=greet))
        self._core.peer_handshakes.note(self._core.engine)
        await self._core.peer_handshakes.poll(self._core.engine)
        await self.saved.poll()

    async def finish(self) -> None:
        """Write what waits."""
        await self._core.peer_handshakes.finish(self._core.engine)
        await self.saved.finish()

    def _look_at_control(self) -> None:
        """Path finding hears whether control hears us, and people when the login runs out."""
        client = self._client
        self._core.magicsock.set_control_connected(client is not None and client.is_connected)
        if client is None:
            self._expiry.look(None, None)
            return
        client.look_at_the_clock()
        node = client.netmap.self_node
        self._expiry.look(node.key_expiry if node else None, client.server_now)

    def _look_at_the_relay(self) -> None:
        magicsock, client = self._core.magicsock, self._client
        region = client.netmap.derp_map.regions.get(magicsock.home_region) if client is not None else None
        connected = magicsock.home_region in magicsock.connected_regions
        name = region.name or region.code if region is not None else ""
        self._relay.look(name, connected=connected, error=magicsock.home_error)

    def _look_at_the_clocks(self) -> None:
        time = self._client.store.time if self._client is not None else None
        self._clocks.look(time.skew if time is not None else None, time.floor if time is not None else None)

    def _slept(self, seconds: float) -> None:
        reason = f"the machine slept for {seconds:.0f} s"
        self._core.bus.publish(LinkChanged(major=True, reason=reason))

    def _jumped(self, forward: timedelta) -> None:
        if self._client is not None:
            self._client.store.time.wall_jumped(forward)

    def _not_written(self, error: StateError) -> None:
        self._core.health.set_error(error)
