"""`Gateway`: the backend's state machine. Stopped, needs login, starting, running; logins, settings, and who is told.

A login is tried beside what runs: only when control has accepted it are keys and preferences stored and the old
session left. A login that fails changes nothing (design.md 2, row 12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from appliance.api.values import RefreshKind
from appliance.crypto.x25519 import public_key
from appliance.daemon.applier import ChangeApplier, Situation
from appliance.daemon.control_clients import ControlClients, wire_net_info
from appliance.daemon.history import History
from appliance.daemon.lifecycle import Lifecycle
from appliance.daemon.logins import KeyKeeper, Login, LoginPlan, log_out_in_passing, store_login
from appliance.daemon.parts import Core, RuleRemoved
from appliance.daemon.preferences import checked, effective_tables, patched, uid_of, view_of, wanted
from appliance.daemon.profile_book import ProfileBook
from appliance.daemon.queries import Queries
from appliance.daemon.status import Progress, StatusBuilder, summary_line, waiting_text
from appliance.daemon.trial import gone_back
from appliance.localapi.schema import (
    ErrorReply,
    EventLine,
    NetcheckReport,
    PingReply,
    PingRequest,
    PrefsPatch,
    PrefsView,
    ProfileView,
    Status,
    UpReply,
    UpRequest,
    VersionReply,
)
from appliance.magicsock.status import NetInfoChanged
from appliance.netmap.address import parse_control_url
from appliance.netmap.client import ControlClient
from appliance.netmap.login import NodeKeys, Registered
from appliance.pluginhost.host import PluginHost
from appliance.state.profiles import Prefs, ProfileEntry, StoredKeys
from appliance.types.errors import ApplianceError, ConfigError, StateError
from appliance.types.events import (
    BackendState,
    BackendStateChanged,
    EndpointsChanged,
    LinkChanged,
    NetmapChanged,
)

log = structlog.get_logger("gateway")

NEEDS_LOGIN = "needs-login"


class Gateway:
    """Implements `LocalBackend`. `run` works until cancelled; the parts are started by the wiring."""

    def __init__(
        self,
        core: Core,
        plugins: PluginHost,
        applier: ChangeApplier,
        situation: Situation,
        history: History,
        lifecycle: Lifecycle,
        prefs: Prefs,
        keys: StoredKeys | None,
    ) -> None:
        self._core = core
        self._plugins = plugins
        self._applier = applier
        self._situation = situation
        self._history = history
        self._lifecycle = lifecycle
        self._prefs = prefs
        self._keys = keys
        self._clients = ControlClients(core, plugins, applier.mesh)
        self._statuses = StatusBuilder(core, plugins, applier)
        self._queries = Queries(core, situation, applier.mesh)
        self._client: ControlClient | None = None
        self._running: asyncio.Task[None] | None = None
        self._login: Login | None = None
        self._login_error: ErrorReply | None = None
        self._spare_key = ""
        self._group: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()
        self._started = asyncio.Event()
        self._closing = asyncio.Event()
        self._book = ProfileBook(core.profiles)
        self._used_ca_file = self._clients.ca_file(prefs)
        self.restart_wanted = asyncio.Event()
        """Another profile, or what only a start takes over: everything is to be made anew."""
        situation.prefs = prefs

    # --- life

    def subscribe_to_bus(self) -> None:
        bus = self._core.bus
        bus.subscribe(NetmapChanged, lambda event: self._applier.netmap_changed(event.diff))
        bus.subscribe(EndpointsChanged, lambda _event: self._tell(endpoints=self._core.magicsock.endpoints))
        bus.subscribe(NetInfoChanged, lambda event: self._tell(net_info=wire_net_info(event.net_info)))
        bus.subscribe(LinkChanged, self._link_changed)
        bus.subscribe(BackendStateChanged, self._state_changed)
        bus.subscribe(RuleRemoved, lambda _event: self._applier.repair(soon=True))

    async def run(self) -> None:
        """Resume what the preferences say; then serve until `stop`."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._lifecycle.trial.resume()
            self._started.set()
            if self._prefs.want_running and self._keys is not None:
                await self._resume(self._keys)
            await self._closing.wait()
            await self._end_login()
            await self._stop_client()

    def stop(self) -> None:
        self._closing.set()

    # --- what the local API reads

    def status(self, *, peers: bool = True) -> Status:
        return self._statuses.build(self._progress(), self._situation.view, peers=peers)

    def version(self) -> VersionReply:
        return self._queries.version()

    def prefs(self) -> PrefsView:
        tables = {name: self._plugins.shown(name, table) for name, table in self._prefs.plugins.items()}
        return view_of(self._prefs, self._control_url(), tables)

    def operator_uid(self) -> int | None:
        return uid_of(self._prefs.operator)

    def netmap(self) -> dict[str, Any]:
        return self._queries.netmap()

    def counters(self) -> Mapping[str, int]:
        return self._queries.counters()

    def metrics(self) -> str:
        return self._queries.metrics()

    def recent_events(self) -> Sequence[EventLine]:
        return self._history.recent()

    def subscribe(self, callback: Callable[[EventLine], None]) -> Callable[[], None]:
        return self._history.subscribe(callback)

    async def ping(self, request: PingRequest) -> PingReply:
        return await self._queries.ping(request)

    async def netcheck(self) -> NetcheckReport:
        return await self._queries.netcheck()

    # --- commands

    async def up(self, request: UpRequest) -> UpReply:
        """Start with the stored login, or begin a login beside what runs."""
        await self._started.wait()
        async with self._changing:
            target = self._book.target(request.profile)
            if target is not None:
                return await self._up_elsewhere(target, request)
            url = request.control_url or self._control_url()
            parse_control_url(url)
            prefs = checked(patched(self._prefs, request.prefs))
            await self._plugins.apply_tables(effective_tables(self._core.config.plugins, prefs))
            await self._end_login()
            self._login_error = None
            if request.force_login or not self._has_login_for(url):
                if self._client is not None and self._client.account is None:
                    await self._stop_client()  # it would ask for a login of its own
                self._begin_login(self._plan(url, prefs, request.auth_key))
                return UpReply(login=True)
            assert self._keys is not None
            self._spare_key = request.auth_key
            self._save_prefs(wanted(prefs, url))
            if self._clients.ca_file(self._prefs) != self._used_ca_file:
                self.restart_wanted.set()
            elif self._client is None:
                await self._resume(self._keys)
            else:
                self._refresh_all()
            return UpReply(login=False)

    async def down(self) -> None:
        async with self._changing:
            self._save_prefs(msgspec.structs.replace(self._prefs, want_running=False))
            await self._leave()
            self._core.bus.publish(BackendStateChanged(BackendState.STOPPED, "waypost down"))

    async def logout(self) -> None:
        """Forget the login, also when control cannot be told."""
        async with self._changing:
            client = self._client
            if client is None and self._keys is not None:
                client = self._make_client(self._keys.control_url, self._prefs, self._keys)
            try:
                if client is not None:
                    await client.logout()
            finally:
                self._core.profile.keys.delete()
                self._keys = None
                self._lifecycle.saved.forget()
                self._save_prefs(msgspec.structs.replace(self._prefs, want_running=False, logged_out=True))
                await self._leave()
                if client is not None:
                    await client.close()
                self._core.bus.publish(BackendStateChanged(BackendState.NEEDS_LOGIN, "waypost logout"))

    async def set_prefs(self, patch: PrefsPatch) -> PrefsView:
        async with self._changing:
            prefs = checked(patched(self._prefs, patch))
            with self._lifecycle.trial.around(self._prefs, patch.confirm_within_s):
                await self._use(prefs)
            return self.prefs()

    async def confirm(self) -> PrefsView:
        self._lifecycle.trial.confirm()
        return self.prefs()

    async def put_back(self, before: Prefs) -> None:
        """Settings that nobody confirmed in time."""
        async with self._changing:
            await self._use(gone_back(before, self._prefs))

    async def _use(self, prefs: Prefs) -> None:
        await self._plugins.apply_tables(effective_tables(self._core.config.plugins, prefs))
        self._save_prefs(prefs)
        self._refresh_all()
        if self._clients.ca_file(prefs) != self._used_ca_file:
            self.restart_wanted.set()

    # --- profiles

    def profiles(self) -> tuple[ProfileView, ...]:
        return self._book.views(self._control_url())

    async def switch_profile(self, name: str) -> None:
        """Everything starts anew with the other profile's keys and preferences."""
        async with self._changing:
            entry = self._book.other(name)
            await self._end_login()
            self._core.profiles.put(entry, select=True)
            self.restart_wanted.set()

    async def delete_profile(self, name: str) -> None:
        """Forget its keys and preferences, and tell its control server if that answers."""
        async with self._changing:
            entry = self._book.other(name)
            keys = self._core.profiles.open(entry).keys.load()
            if keys is not None:
                client = self._make_client(keys.control_url, self._book.prefs_of(entry), keys)
                await log_out_in_passing(client)
            self._core.profiles.remove(entry)

    # --- logins

    def _has_login_for(self, url: str) -> bool:
        return self._keys is not None and self._keys.control_url == url and not self._is_login_lost()

    def _is_login_lost(self) -> bool:
        return self._client is not None and self._client.state is BackendState.NEEDS_LOGIN

    def _plan(self, url: str, prefs: Prefs, auth_key: str) -> LoginPlan:
        """A login of the current profile. Keys of another server stay usable until the new login is tried out."""
        known = self._keys if self._keys is not None and self._keys.control_url == url else None
        return LoginPlan(url, wanted(prefs, url), auth_key, known, hold=self._keys is not None and known is None)

    async def _up_elsewhere(self, target: ProfileEntry, request: UpRequest) -> UpReply:
        """`up` in another profile: taken over at once when it is logged in, else after its login."""
        profile = self._core.profiles.open(target)
        prefs = checked(patched(self._book.prefs_of(target), request.prefs))
        url = request.control_url or prefs.control_url or self._control_url()
        parse_control_url(url)
        await self._end_login()
        self._login_error = None
        keys = profile.keys.load()
        known = keys if keys is not None and keys.control_url == url else None
        if known is not None and not request.force_login:
            profile.prefs.save(wanted(prefs, url))
            self._core.profiles.put(target, select=True)
            self.restart_wanted.set()
            return UpReply(login=False)
        self._begin_login(LoginPlan(url, wanted(prefs, url), request.auth_key, known, hold=True, profile=target))
        return UpReply(login=True)

    def _begin_login(self, plan: LoginPlan) -> None:
        assert self._group is not None
        pending, store = [plan.prefs], None
        keeper = KeyKeeper(lambda keys: self._keys_accepted(plan.url, keys, pending), hold=plan.hold)
        if plan.profile is not None:
            profile = self._core.profiles.open(plan.profile)
            keeper = KeyKeeper(lambda keys: store_login(profile, plan, keys), hold=True)
        elif plan.known is not None and self._client is not None:
            store = self._client.store
        client = self._clients.make(plan.url, plan.prefs, plan.known, keeper.accept, store)
        self._login = Login(plan, client, keeper)
        self._login.start(self._group, self._login_accepted, self._login_failed)
        self._core.bus.publish(BackendStateChanged(self._state(), f"logging in at {plan.url}"))

    async def _login_accepted(self, login: Login, account: Registered) -> None:
        """From here on it is the login of this gateway; the session of the former one ends."""
        name = account.login_name
        if login.plan.profile is not None:
            entry = msgspec.structs.replace(login.plan.profile, control_url=login.plan.url, login_name=name)
            self._core.profiles.put(entry, select=True)
            await login.client.close()
            self.restart_wanted.set()
            return
        try:
            self._core.profiles.describe_current(control_url=login.plan.url, login_name=name)
        except StateError as error:
            log.warning("the list of profiles could not be written", error=error.text)
        if self._clients.ca_file(login.plan.prefs) != self._used_ca_file:
            await login.client.close()
            self.restart_wanted.set()
            return
        await self._stop_client()
        await self._start_client(login.client)
        self._login = None

    async def _login_failed(self, error: ApplianceError) -> None:
        """Back to what was."""
        log.warning("login failed", error=error.text)
        self._login = None
        self._login_error = ErrorReply(code=error.code, text=error.text, mend=error.mend)
        try:
            await self._plugins.apply_tables(effective_tables(self._core.config.plugins, self._prefs))
        except ConfigError as problem:
            log.error("settings could not be put back", error=problem.text)
        if self._client is None and self._keys is not None and self._prefs.want_running:
            await self._resume(self._keys)
        self._core.bus.publish(BackendStateChanged(self._state(), error.text))

    async def _end_login(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            await login.cancel()

    def _keys_accepted(self, url: str, keys: NodeKeys, pending: list[Prefs]) -> None:
        """Control knows this node by these keys: from here on they are ours, before anything relies on them.

        `pending` holds the preferences that came with the login, until it was accepted once.
        """
        stored = StoredKeys(node_key=keys.private, old_node_key=keys.old, control_url=url)
        if stored != self._keys:
            self._core.profile.keys.save(stored)
            self._keys = stored
        if pending:
            self._save_prefs(pending.pop())
            self._refresh_all()
        self._applier.set_private_key(keys.private)

    # --- the control client

    def _make_client(self, url: str, prefs: Prefs, stored: StoredKeys) -> ControlClient:
        """With the login of the current profile, or in passing with that of another one."""
        return self._clients.make(url, prefs, stored, lambda keys: self._keys_accepted(url, keys, []))

    async def _resume(self, keys: StoredKeys) -> None:
        """With the stored login; on the saved netmap until control gives one."""
        url = keys.control_url
        store = self._lifecycle.restore(public_key(keys.node_key), url)
        accept = KeyKeeper(lambda accepted: self._keys_accepted(url, accepted, [])).accept
        await self._start_client(self._clients.make(url, self._prefs, keys, accept, store))
        if store is not None:
            self._applier.set_private_key(keys.node_key)
            self._applier.netmap_changed(store.everything())

    async def _start_client(self, client: ControlClient) -> None:
        assert self._group is not None
        self._client = client
        self._lifecycle.follow(client, self._keys.control_url if self._keys is not None else "")
        self._situation.view = client.netmap
        self._running = self._group.create_task(client.run(), name="control client")

    async def _stop_client(self) -> None:
        running, self._running = self._running, None
        self._client = None
        self._lifecycle.follow(None)
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _leave(self) -> None:
        """Off the mesh; the login stays."""
        await self._end_login()
        await self._stop_client()
        self._situation.view = None
        await self._applier.clear()

    # --- telling control

    def refresh_hostinfo(self) -> None:
        self._tell(hostinfo=self._clients.hostinfo(self._prefs))

    def _tell(self, **news: Any) -> None:
        """`news`: as `ControlClient.update` takes them."""
        if self._client is not None:
            self._client.update(**news)

    def _link_changed(self, event: LinkChanged) -> None:
        log.info("the host's network changed", major=event.major, reason=event.reason)
        self._core.magicsock.link_changed(event.major)
        if event.major and self._client is not None:
            self._client.link_changed()
        self._applier.refresh(RefreshKind.ROUTER)
        self._applier.repair()

    def _state_changed(self, event: BackendStateChanged) -> None:
        log.info("state", state=str(event.state), reason=event.reason)
        lost = event.state is BackendState.NEEDS_LOGIN and self._prefs.want_running and self._login is None
        if lost and self._client is not None and not self._client.auth_url:
            self._login_lost(event.reason)
        error = self._login_error
        if event.state is BackendState.RUNNING and error is not None and error.code == NEEDS_LOGIN:
            self._login_error = None  # an administrator extended it

    def _login_lost(self, reason: str) -> None:
        """The stored login is not good any more: use the key that `waypost up` brought, or say what to do."""
        key, self._spare_key = self._spare_key, ""
        if key and self._group is not None:
            self._begin_login(self._plan(self._control_url(), self._prefs, key))
            return
        text = f"this node must log in again: {reason or 'the control server does not know it'}"
        self._login_error = ErrorReply(code=NEEDS_LOGIN, text=text, mend="run: waypost login")

    # --- state

    def _state(self) -> BackendState:
        if self._client is None and self._login is not None:
            return BackendState.NEEDS_LOGIN if self._login.auth_url else BackendState.STARTING
        if self._client is None and self._keys is None:
            return BackendState.NEEDS_LOGIN
        if self._client is None:
            resumes = self._prefs.want_running and not self._closing.is_set()
            return BackendState.STARTING if resumes else BackendState.STOPPED
        state = self._client.state
        if state is BackendState.STARTING and self._lifecycle.saved.state is not None:
            state = BackendState.RUNNING
        if state is BackendState.RUNNING and not self._applier.configured:
            return BackendState.STARTING
        return state

    def _progress(self) -> Progress:
        client = self._client
        asks = self._login or client
        return Progress(
            state=self._state(),
            waiting_for=self._waiting_for(),
            login_error=self._login_error,
            auth_url=asks.auth_url if asks is not None else "",
            login_pending=self._login is not None or self.restart_wanted.is_set(),
            control_url=self._login.plan.url if self._login and client is None else self._control_url(),
            connected=client is not None and client.is_connected,
            saved=self._lifecycle.saved.state,
            unconfirmed_s=self._lifecycle.trial.left_s,
            node_key=str(public_key(self._keys.node_key)) if self._keys is not None else "",
            hostname=self._prefs.hostname or self._core.config.node.hostname or self._clients.machine_name,
        )

    def _waiting_for(self) -> str:
        if self.restart_wanted.is_set():
            return "starting anew"
        if self._login is not None:
            return self._login.waiting_for
        if self._client is None:
            return ""
        return waiting_text(self._client, self._control_url(), self._lifecycle.saved.state, self._applier.configured)

    def _control_url(self) -> str:
        return self._prefs.control_url or self._core.config.control.url

    # --- preferences

    def _save_prefs(self, prefs: Prefs) -> None:
        if prefs != self._prefs:
            self._core.profile.prefs.save(prefs)
            self._prefs = self._situation.prefs = prefs

    def _refresh_all(self) -> None:
        for kind in RefreshKind:
            self._applier.refresh(kind)

    def summary(self) -> str:
        """One line for systemd."""
        return summary_line(self._state(), self._waiting_for(), self._situation.view)
