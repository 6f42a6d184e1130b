"""The connection to one DERP region: kept up as long as it is wanted (derp spec 7.1 to 7.3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from appliance.magicsock.derp.dialling import TOTAL_TIMEOUT_S, Reached, dial_region, host_header
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.ports.streams import ByteStream, StreamDialer
from appliance.proto.derp.client import (
    ClientEvent,
    ClientState,
    Closed,
    Connected,
    DerpClient,
    PacketsReceived,
    PeerLeft,
    PongReceived,
    ServerRestarting,
)
from appliance.proto.derp.frames import MAX_PACKET, NONCE_SIZE, PING_SIZE
from appliance.proto.derp.upgrade import meta_key
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpRegion

QUEUE_PACKETS = 32
MAX_UNSENT_BYTES = 65536
"""Bytes that may wait in the stream before packets wait in the queue, where the oldest is dropped."""
BACKLOG_POLL_S = 0.01
BACKOFF_STEP_S = 0.01
BACKOFF_MAX_S = 5.0
PING_TIMEOUT_S = 3.0
RESTART_MAX_S = 30.0
"""The longest that a server that restarts may have us wait."""


class LinkOwner(Protocol):
    """What a link tells the pool."""

    def link_connected(self, link: RegionLink) -> None: ...

    def link_received(self, link: RegionLink, source: NodePublicKey, packets: Sequence[bytes]) -> None: ...

    def link_peer_gone(self, link: RegionLink, peer: NodePublicKey, not_here: bool) -> None: ...

    def link_lost(self, link: RegionLink, error: str) -> None:
        """A connection that had been accepted ended."""
        ...


class RegionLink:
    """Dials, reconnects with back-off, queues what waits. `run` lives as long as the link is wanted."""

    def __init__(
        self,
        region: DerpRegion,
        private_key: NodePrivateKey,
        dialer: StreamDialer,
        clock: Clock,
        randomness: Randomness,
        owner: LinkOwner,
        *,
        is_home: bool,
        ca_file: str = "",
    ) -> None:
        self.region = region
        self.is_home = is_home
        self.last_write_at = clock.now()
        self.last_frame_at: float | None = None
        self.last_error = ""
        self.dropped = 0
        self._private_key = private_key
        self._dialer = dialer
        self._clock = clock
        self._randomness = randomness
        self._owner = owner
        self._ca_file = ca_file
        self._queue: deque[tuple[NodePublicKey, bytes]] = deque()
        self._work = asyncio.Event()
        self._retry = asyncio.Event()
        self._machine: DerpClient | None = None
        self._stream: ByteStream | None = None
        self._pings: dict[bytes, asyncio.Future[bool]] = {}
        self._reconnect_in_s: float | None = None
        """Said by a server that restarts: all of its clients must not come back at once."""

    @property
    def connected(self) -> bool:
        return self._machine is not None and self._machine.state is ClientState.OPEN

    # Sending

    def send(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        """Write at once when the way is free, else queue; a full queue loses its oldest."""
        self.last_write_at = self._clock.now()
        for packet in packets:
            if len(packet) > MAX_PACKET:
                self.dropped += 1
                continue
            if len(self._queue) >= QUEUE_PACKETS:
                self._flush()
            if len(self._queue) >= QUEUE_PACKETS:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append((peer, packet))
        self._flush()

    def _flush(self) -> None:
        """Hand queued packets to the stream while it has room; the writer goes on when it has room again."""
        machine, stream = self._machine, self._stream
        if machine is None or stream is None:
            return
        now = self._clock.now()
        if machine.state is ClientState.OPEN and stream.queued_bytes() < MAX_UNSENT_BYTES:
            while self._queue:
                peer, packet = self._queue.popleft()
                machine.send_packets(peer, (packet,), now)
        data = machine.data_to_send(now)
        if data:
            stream.write(data)
        if self._queue:
            self._work.set()

    def set_home(self, is_home: bool) -> None:
        """Tell the server whether this region is our home."""
        changed, self.is_home = is_home != self.is_home, is_home
        if changed:
            self.last_write_at = self._clock.now()  # a former home idles out from now on
        if changed and self.connected and self._machine is not None:
            self._machine.note_preferred(is_home)
            self._flush()

    def retry_now(self) -> None:
        """End a back-off."""
        self._retry.set()

    def drop(self) -> None:
        """Break the connection; `run` dials again."""
        if self._stream is not None:
            self._stream.close()

    def is_from(self, local_ips: Sequence[str]) -> bool:
        """Whether the connection leaves from one of these addresses."""
        return self._stream is not None and self._stream.local_ip in local_ips

    async def check(self) -> None:
        """Ping the server; without an answer in 3 s break the connection."""
        if not self.connected or self._machine is None:
            return self.retry_now()
        data = self._randomness.bytes(PING_SIZE)
        answered = self._pings[data] = asyncio.get_running_loop().create_future()
        stream = self._stream
        self._machine.ping(data)
        self._flush()
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await answered
        except TimeoutError:
            if stream is self._stream:
                self.drop()
        finally:
            self._pings.pop(data, None)

    # Life

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        failures = 0
        while True:
            was_connected = await self._connect_once()
            failures = 1 if was_connected else failures + 1
            delay = min(failures * failures * BACKOFF_STEP_S, BACKOFF_MAX_S) * self._randomness.uniform(0.5, 1.5)
            asked, self._reconnect_in_s = self._reconnect_in_s, None
            delay = delay if asked is None else asked
            self._retry.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._retry.wait()
            except TimeoutError:
                continue

    async def _connect_once(self) -> bool:
        """One connection from dialling to its end; whether the server had accepted us."""
        accepted = False
        error = ""
        try:
            async with asyncio.timeout(TOTAL_TIMEOUT_S):
                reached = await dial_region(self._dialer, self._clock, self.region, ca_file=self._ca_file)
                self._begin(reached)
                while not self.connected:
                    await self._read_once()
            accepted = True
            await self._serve()
        except OSError as failure:
            error = str(failure) or ("the server is silent" if accepted else "no DERP connection within 10 s")
        finally:
            accepted = accepted or self.connected
            self.last_error = error
            self._end(accepted, error)
        return accepted

    def _begin(self, reached: Reached) -> None:
        found = (meta_key(certificate) for certificate in reached.stream.peer_certificates()[1:])
        self._machine = DerpClient(
            self._private_key,
            host_header(reached.node),
            self._randomness.bytes(NONCE_SIZE),
            self._clock.now(),
            ideal_node="" if reached.is_first else self.region.nodes[0].name,
            server=next((key for key in found if key is not None), None),
        )
        self._stream = reached.stream
        self._flush()

    def _end(self, accepted: bool, error: str) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = self._machine = None
        for answered in self._pings.values():
            if not answered.done():
                answered.set_result(False)
        if accepted:
            self._owner.link_lost(self, error)

    async def _serve(self) -> None:
        """Read and write until the connection ends, which is an OSError."""
        writer = asyncio.ensure_future(self._write_backlog())
        try:
            while True:
                await self._read_once()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write_backlog(self) -> None:
        """Continue with queued packets whenever the stream has room; a broken stream shows at the next read."""
        while True:
            await self._work.wait()
            self._work.clear()
            stream = self._stream
            if stream is None:
                return
            await stream.drain()
            self._flush()
            if self._queue:  # streams over TLS hold more than we let them before drain waits
                await asyncio.sleep(BACKLOG_POLL_S)

    async def _read_once(self) -> None:
        """Feed the machine once, or let its watchdog bark. Raises OSError at the end."""
        machine, stream = self._machine, self._stream
        assert machine is not None
        assert stream is not None
        deadline = machine.next_timer()
        assert deadline is not None
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.now())) as limit:
                data = await stream.read()
        except TimeoutError:
            if not limit.expired():  # the kernel's time-out, not ours
                raise
            machine.handle_timer(self._clock.now())
        else:
            now = self._clock.now()
            machine.receive_data(data, now)
            if data:
                self.last_frame_at = now
        while (event := machine.next_event()) is not None:
            self._handle(machine, event)
        self._flush()

    def _handle(self, machine: DerpClient, event: ClientEvent) -> None:
        match event:
            case PacketsReceived(source, packets):
                self._owner.link_received(self, source, packets)
            case PeerLeft(peer, not_here):
                self._owner.link_peer_gone(self, peer, not_here)
            case Connected():
                if self.is_home:
                    machine.note_preferred(True)
                self._owner.link_connected(self)
            case PongReceived(data):
                answered = self._pings.get(data)
                if answered is not None and not answered.done():
                    answered.set_result(True)
            case ServerRestarting(reconnect_in_ms, _):
                self._reconnect_in_s = min(reconnect_in_ms / 1000, RESTART_MAX_S)
            case Closed(reason):
                raise ConnectionError(reason)
            case _:
                return
