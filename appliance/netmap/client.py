"""`ControlClient`: logs in, follows the map stream, tells control what changed here.

One tunnel carries everything; when it breaks, stream, updates and login come back, each with its own back-off
(control-protocol spec sections 7 to 10, 18). Events: `NetmapChanged`, `BackendStateChanged`, `HealthChanged`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from appliance.netmap.address import parse_control_url
from appliance.netmap.backoff import Backoff
from appliance.netmap.dialing import Sleep
from appliance.netmap.errors import BadAuthKey, ControlRefused, LoginNeeded, LoginRefused, ProtocolError
from appliance.netmap.link import ControlLink
from appliance.netmap.local_info import LocalInfo
from appliance.netmap.login import LoginMachine, NodeKeys, Registered, VisitUrl
from appliance.netmap.map_session import MapSession
from appliance.netmap.pings import C2nHandler, PeerPing, PingResponder
from appliance.netmap.registration import Registration
from appliance.netmap.store import NetmapStore, NetmapView
from appliance.netmap.waiting import first_of, within
from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.ports.randomness import Randomness
from appliance.ports.streams import StreamDialer
from appliance.proto.control import messages as wire
from appliance.types.errors import ControlError
from appliance.types.events import BackendState, BackendStateChanged, HealthChanged, NetmapChanged
from appliance.types.keys import DiscoPublicKey, MachinePrivateKey
from appliance.types.netmap import Endpoint, NetmapDiff

MAP_PATH = "/machine/map"
LITE_TIMEOUT_S = 30.0
MAX_DEBUG_SLEEP_S = 300.0
HEALTH_UNREACHABLE = "control-unreachable"
HEALTH_LOGIN = "login-state"
HICCUP_S = 10.0
"""A connection that is back within this time was never reported as lost."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Where the control server is, and what the node brings along.

    `make_keys` gives a fresh node key pair; `save_keys` has stored an accepted pair when it returns. `c2n` are further
    control-to-node routes by path; `peer_ping` answers ping requests that name a peer.
    """

    url: str
    machine_key: MachinePrivateKey
    make_keys: Callable[[], NodeKeys]
    save_keys: Callable[[NodeKeys], None]
    ca_file: str = ""
    c2n: Mapping[str, C2nHandler] = field(default_factory=dict)
    peer_ping: PeerPing | None = None


class ControlClient:
    """`keys` None: this node never logged in. Raises `BadControlUrl`.

    `run` works until cancelled. `login` may be called before or while it runs, `update` at any time.
    """

    def __init__(
        self,
        settings: ControlSettings,
        *,
        dialer: StreamDialer,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
        keys: NodeKeys | None,
        hostinfo: wire.Hostinfo,
        store: NetmapStore | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        address = parse_control_url(settings.url)
        self._clock = clock
        self._bus = bus
        self._sleep = sleep
        self._link = ControlLink(
            dialer,
            address,
            settings.machine_key,
            clock=clock,
            randomness=randomness,
            sleep=sleep,
            ca_file=settings.ca_file,
        )
        self._login = LoginMachine(keys, settings.make_keys, clock=clock, randomness=randomness)
        self._registration = Registration(self._link, self._login, settings.save_keys, sleep)
        self._store = store if store is not None else NetmapStore()
        self._local = LocalInfo(hostinfo)
        self._pings = PingResponder(dialer, ca_file=settings.ca_file, c2n=settings.c2n, peer_ping=settings.peer_ping)
        self._register_backoff, self._map_backoff, self._lite_backoff = (Backoff(randomness) for _ in range(3))
        self._logging_in = asyncio.Lock()
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._session: MapSession | None = None
        self._visiting: asyncio.Task[Registered | VisitUrl] | None = None
        self._registered: Registered | None = None
        self._state = BackendState.STARTING if keys is not None else BackendState.NEEDS_LOGIN
        self._acknowledged = 0
        self._lost_at: float | None = clock.now() - HICCUP_S
        self._reported = ""
        """Code of the health item that is up."""

    # --- what others see

    @property
    def netmap(self) -> NetmapView:
        """Read-only and live."""
        return self._store.view

    @property
    def store(self) -> NetmapStore:
        """For the client that takes over from this one; nobody else writes to it."""
        return self._store

    @property
    def server_now(self) -> datetime:
        """The server's clock as far as it is known."""
        return self._store.server_now(self._clock.wall_now())

    @property
    def state(self) -> BackendState:
        return self._state

    @property
    def keys(self) -> NodeKeys | None:
        """The node keys that control has accepted."""
        return self._login.keys

    @property
    def auth_url(self) -> str:
        """What somebody must visit to finish the login; empty when nothing is pending."""
        return self._login.auth_url

    @property
    def account(self) -> Registered | None:
        """Whom the node belongs to, once this process has registered."""
        return self._registered

    @property
    def is_connected(self) -> bool:
        """Whether a map stream is open and has brought a netmap."""
        return self._session is not None and self._session.has_netmap

    @property
    def is_acknowledged(self) -> bool:
        """Whether control knows the present local information."""
        return self._acknowledged == self._local.version

    # --- commands

    async def login(
        self, auth_key: str = "", *, new_key: bool = False, ephemeral: bool = False
    ) -> Registered | VisitUrl:
        """Register with a pre-auth key, or begin an interactive login when there is none.

        Tries once. Raises `BadAuthKey`, `LoginRefused`, `LoginNeeded`, `ControlRefused`, `ControlUnreachable`,
        `NotAControlServer` or `ProtocolError`, all fit for people.
        """
        if self._visiting is not None:
            self._visiting.cancel()
        async with self._logging_in:
            self._login.start(auth_key, new_key=new_key, ephemeral=ephemeral)
            return await self._register()

    async def finish_login(self) -> Registered:
        """Wait until somebody has finished the login that `login` began; a new URL shows in `auth_url`.

        For a client that does not `run` yet. Raises `LoginRefused` and the like; a server that is away is waited for.
        """
        while self._registered is None:
            try:
                await self._wait_for_visit()
            except (BadAuthKey, LoginNeeded, LoginRefused):
                raise
            except ControlError as error:
                wait_s = error.retry_after_s if isinstance(error, ControlRefused) else 0.0
                await self._sleep(max(wait_s, self._register_backoff.next_s()))
        return self._registered

    async def verify(self) -> None:
        """Ask control whether it serves the accepted key. Raises `ControlError`."""
        keys = self._login.keys
        if self._registered is None or keys is None:
            raise LoginNeeded("this node is not logged in", mend="run: waypost login")
        await self._tell_once(wire.encode(self._local.lite_update(keys.public)))

    async def logout(self) -> None:
        """Tell control that the node key is no more, and stop following the map. Raises `ControlError`."""
        if self._visiting is not None:
            self._visiting.cancel()
        async with self._logging_in:
            await self._registration.log_out(self._local.hostinfo)
            self._registered = None
            self._drop_session()
            self._set_state(BackendState.NEEDS_LOGIN, "logged out")

    def update(
        self,
        *,
        endpoints: Sequence[Endpoint] | None = None,
        disco_key: DiscoPublicKey | None = None,
        hostinfo: wire.Hostinfo | None = None,
        net_info: wire.NetInfo | None = None,
    ) -> None:
        """Change what this node tells about itself; sent soon, repeated until control has acknowledged it."""
        if self._local.change(endpoints=endpoints, disco_key=disco_key, hostinfo=hostinfo, net_info=net_info):
            self._dirty.set()

    def link_changed(self) -> None:
        """The host's network changed: open the tunnel anew at once, without waiting for the watchdog."""
        self._link.drop("the host's network changed")
        self._map_backoff.reset()
        self._wake.set()

    def look_at_the_clock(self) -> None:
        """Peers' keys, and ours, run out without a word from control; called about once a second."""
        diff = self._store.expire(self._clock.wall_now())
        if not diff.empty:
            self._bus.publish(NetmapChanged(diff))
        if self.is_connected:
            self._judge_self()

    async def run(self) -> None:
        """Until cancelled. What was reported of control ends with it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="control: map stream")
                group.create_task(self._tell(), name="control: updates")
        finally:
            self._withdraw()
            await self.close()

    async def close(self) -> None:
        """Close the tunnel."""
        await self._link.close()

    # --- the map stream

    async def _follow(self) -> None:
        while True:
            try:
                if await self._ensure_registered():
                    await self._follow_one()
            except ControlError as error:
                self._note_failure(error)
                backoff = self._map_backoff if self._registered is not None else self._register_backoff
                wait_s = error.retry_after_s if isinstance(error, ControlRefused) else 0.0
                await self._pause(max(wait_s, backoff.next_s()))

    async def _follow_one(self) -> None:
        """One map stream from request to end; returns only when we dropped it ourselves."""
        connection = await self._link.connected()
        keys = self._login.keys
        if keys is None or self._registered is None:
            return
        self._store.begin_stream()
        session = self._session = MapSession(connection, self._clock, self._sleep, self._take_message)
        try:
            await session.run(MAP_PATH, wire.encode(self._local.map_stream(keys.public, self._store.session)))
        except ControlError:
            if not session.dropped:
                raise
            return
        finally:
            if self._session is session:
                self._session = None
        raise ProtocolError("the control server ended the map stream")

    async def _take_message(self, response: wire.MapResponse) -> bool:
        """Whether the message brought state. Raises `DecodeError` when the stream must be ended."""
        session = self._session
        if response.ping_request is not None and session is not None and self._pings.is_new(response.ping_request):
            session.spawn(self._pings.answer(response.ping_request, session.connection))
        diff = await self._apply(response)
        if not response.keep_alive:
            self._map_backoff.reset()
            self._mend()
        if not diff.empty:
            self._bus.publish(NetmapChanged(diff))
        self._judge_self()
        if not response.keep_alive and response.debug is not None and response.debug.sleep_seconds > 0:
            await self._sleep(min(response.debug.sleep_seconds, MAX_DEBUG_SLEEP_S))
        return not response.keep_alive

    async def _apply(self, response: wire.MapResponse) -> NetmapDiff:
        """A full map of thousands of peers gives way to packets now and then."""
        steps = self._store.steps(response, self._clock.wall_now())
        while True:
            try:
                next(steps)
            except StopIteration as end:
                diff: NetmapDiff = end.value
                return diff
            await asyncio.sleep(0)

    def _judge_self(self) -> None:
        node = self._store.self_node
        if node is None:
            return
        now = self._store.server_now(self._clock.wall_now())
        if node.key_expiry is not None and node.key_expiry <= now:
            self._set_state(BackendState.NEEDS_LOGIN, "the node key has expired")
        elif not node.machine_authorized:
            self._set_state(BackendState.NEEDS_APPROVAL, "an administrator must approve this device")
        else:
            self._set_state(BackendState.RUNNING)

    # --- registration

    async def _ensure_registered(self) -> bool:
        """Whether the map stream may begin; when not, something changed meanwhile: look again."""
        if self._registered is None:
            if self._login.auth_url:
                await self._wait_for_visit()
            elif not self._login.has_credentials or self._login.needs_person:
                self._set_state(BackendState.NEEDS_LOGIN)
                self._wake.clear()
                await self._wake.wait()
            else:
                async with self._logging_in:
                    if self._registered is None:
                        await self._register()
        return self._registered is not None

    async def _register(self) -> Registered | VisitUrl:
        try:
            outcome = await self._registration.register(self._local.hostinfo)
        except (BadAuthKey, LoginNeeded, LoginRefused) as error:
            self._set_state(BackendState.NEEDS_LOGIN, error.text)
            raise
        self._settle(outcome)
        return outcome

    async def _wait_for_visit(self) -> None:
        """The server answers when somebody has visited the URL; `login` and `logout` cut in."""
        visiting = self._registration.wait_for_visit(self._local.hostinfo)
        self._visiting = asyncio.get_running_loop().create_task(visiting)
        try:
            await asyncio.wait({self._visiting})
            if self._visiting.cancelled():
                async with self._logging_in:  # whoever cut in goes first
                    return
            self._settle(self._visiting.result())
        finally:
            self._visiting.cancel()
            self._visiting = None

    def _settle(self, outcome: Registered | VisitUrl) -> None:
        self._register_backoff.reset()
        if isinstance(outcome, VisitUrl):
            self._set_state(BackendState.NEEDS_LOGIN, f"visit {outcome.url}")
        else:
            self._registered = outcome
            self._acknowledged = 0
            self._drop_session()
            self._dirty.set()
            self._set_state(BackendState.STARTING if outcome.authorized else BackendState.NEEDS_APPROVAL)
        self._wake.set()

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.drop()

    # --- updates

    async def _tell(self) -> None:
        while True:
            await self._dirty.wait()
            keys = self._login.keys
            if self._registered is None or keys is None:
                self._dirty.clear()  # registering sets it again
                continue
            version = self._local.version
            try:
                await self._tell_once(wire.encode(self._local.lite_update(keys.public)))
            except ControlError:
                await self._sleep(self._lite_backoff.next_s())
                continue
            self._lite_backoff.reset()
            self._acknowledged = version
            if self.is_acknowledged:
                self._dirty.clear()

    async def _tell_once(self, request: bytes) -> None:
        connection = await self._link.connected()
        reply = await within(connection.request("POST", MAP_PATH, request), LITE_TIMEOUT_S, self._sleep, "update")
        if reply.status != 200:
            raise ControlRefused(reply.status, f"the control server refuses an update: HTTP {reply.status}")

    # --- waiting and telling

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when somebody wakes us."""
        self._wake.clear()
        await first_of(self._wake.wait(), self._sleep(seconds))

    def _set_state(self, state: BackendState, reason: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._bus.publish(BackendStateChanged(state, reason))

    def _note_failure(self, error: ControlError) -> None:
        now = self._clock.now()
        self._lost_at = self._lost_at if self._lost_at is not None else now
        about_login = isinstance(error, BadAuthKey | LoginNeeded | LoginRefused)
        if about_login or now - self._lost_at >= HICCUP_S:
            self._report(HEALTH_LOGIN if about_login else HEALTH_UNREACHABLE, error)

    def _report(self, code: str, error: ControlError) -> None:
        if code != self._reported:
            self._withdraw()
            self._reported = code
            self._bus.publish(HealthChanged(code, True, error.text, error.mend))

    def _mend(self) -> None:
        self._lost_at = None
        self._withdraw()

    def _withdraw(self) -> None:
        if self._reported:
            code, self._reported = self._reported, ""
            self._bus.publish(HealthChanged(code, False))
